"""Every endpoint answers as `/openapi.json` says it does; few requests here, many with `make api-fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import fuzzing
from tests.support.daemon import Daemon

TESTED = 90  # endpoints at least: a description that lost most of them would pass


def test_that_no_answer_is_one_that_nobody_described(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes=fuzzing.ROUTES, config=fuzzing.CONFIG) as daemon:
        done = fuzzing.run(daemon, tmp_path, examples=1, seed=1, phases="fuzzing")
        said = daemon.stderr()

    assert done.returncode == 0, done.stdout + done.stderr + said
    assert "Traceback" not in said and "ended or failed" not in said, said
    tested = next(int(line.split()[-1]) for line in done.stdout.splitlines() if line.strip().startswith("Tested:"))
    assert tested >= TESTED


def test_that_what_it_looks_at_is_not_forgiven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that refuses all that is right is found out."""
    monkeypatch.setattr(fuzzing, "CHECKS", "[checks.positive_data_acceptance]\nexpected-statuses = [418]\n")
    with Daemon.fresh(tmp_path, routes=fuzzing.ROUTES, config=fuzzing.CONFIG) as daemon:
        done = fuzzing.run(daemon, tmp_path, examples=1, seed=1, phases="fuzzing", only="/v1/status")

    assert done.returncode == 1
    assert "Schema-valid request rejected" in done.stdout
