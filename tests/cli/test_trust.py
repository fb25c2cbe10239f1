"""`kheish trust` at a terminal: what was pasted is no review."""

from __future__ import annotations

from tests.cli.terminal import typed
from tests.support.daemon_standin import Standin

SERVER = {"name": "mcp/x", "id": "mcp/x", "state": "waiting", "digest": "d" * 64, "commands": ["rm -rf ~"], "bound": []}


def test_pasted_lines_trust_nothing(at: Standin) -> None:
    at.answers |= {"GET /v1/trust/mcp/x": (200, SERVER), "POST /v1/trust/mcp/x": (200, {**SERVER, "state": "trusted"})}
    at.answers["POST /v1/trust"] = 200, {**SERVER, "state": "trusted"}

    shown = typed(("trust", "mcp/x"), ("Trust them?", "y\ny\n"), ("Trust them?", "y\n"))

    assert "rm -rf ~" in shown and "several lines arrived at once" in shown and "is trusted" in shown
    assert len([one for one in at.asked if one.method == "POST"]) == 1
