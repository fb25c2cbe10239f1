"""`kheish mcp serve` beside a daemon that is not there."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from kheish.protocols.mcp import stdio


def test_it_says_that_no_daemon_serves_the_state_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clients show stderr; the server answers all the same, since a daemon may start later."""
    with mock.patch("asyncio.run") as serving:
        stdio.serve(None, None, str(tmp_path / "none"))
    serving.call_args.args[0].close()
    assert f"{tmp_path / 'none'} is not a state root; create one with `kheish init" in capsys.readouterr().err
