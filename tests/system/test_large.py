"""However much there is: a start, a resumed session and a turn cost what they need, not what there was before."""

from __future__ import annotations

import pytest

from tests.support.daemon import Daemon
from tests.system.conftest import Fresh


@pytest.mark.demand(19)
def test_a_turn_adds_the_same_to_history_however_many_were_before(shared: Daemon) -> None:
    shared.client.sessions.create("turns", route="hello")
    ran = [shared.client.runs.start("turns", f"say {number:04d}", wait="20s") for number in range(24)]
    shared.quiet()

    lines = shared.journal("turns")
    sizes = [len(str([line["data"] for line in lines if line["run"] == run.run_id])) for run in ran]

    assert {run.status for run in ran} == {"completed"}
    assert max(sizes) <= 1.05 * min(sizes)
    assert str(lines).count("say 0000") <= 5, "asked, answered, the run's output, and both in the session's memory"


@pytest.mark.demand(5)
def test_a_start_reads_neither_journals_nor_records(fresh: Fresh) -> None:
    """What is unreadable is not noticed, so it was not read: neither by the start nor by lists."""
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]})
    for number in range(3):
        daemon.client.sessions.create(f"s{number}", route="hello")
        daemon.client.runs.start(f"s{number}", "you", wait="20s")
    daemon.quiet()
    daemon.stop()
    files = [*daemon.root.glob("sessions/*/*/journal/*.jsonl"), *daemon.root.glob("sessions/**/*.yaml")]
    (daemon.root / ".git" / "MERGE_HEAD").write_text("0" * 40)  # a person's git is at work: nothing is put back
    for path in files:
        path.write_bytes(b"\xff not a line, not YAML")

    daemon.start()

    assert [run["output"] for run in daemon.client.runs.list()["items"]] == ["hello you"] * 3
    assert {one["status"] for one in daemon.client.sessions.list()["items"]} == {"idle"}
    (daemon.root / ".git" / "MERGE_HEAD").unlink()
