"""Nothing is imported on the event loop of a daemon that serves: the first use of a thing holds up nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.support import importing
from tests.support.daemon import Daemon, allow, call
from tests.support.site import Page, serve
from tests.system.test_secrets import standin


def test_first_uses_import_nothing_on_the_event_loop(tmp_path: Path) -> None:
    notes = tmp_path / "imports"
    with serve({"/": Page(b"<p>Tea</p>", headers={"Content-Type": "text/html"})}) as site, standin() as api_base:
        permissions = allow("ls", "cat *")
        permissions["rules"].append({"tool": "web_fetch", "decision": "allow"})
        calls = [
            call("web_fetch", url=site.url + "/"),
            call("bash", command="ls | cat x*"),
            call("bash", command="make x"),
            call("grep_search", pattern="x"),
        ]
        made = Daemon.fresh(
            tmp_path,
            config={"network": {"allow": ["127.0.0.1"]}},
            permissions={**permissions, "mode": "dont_ask"},
            routes={
                "uses": [*({"tool_calls": [one]} for one in calls), {"text": "ok"}],
                "model": {"driver": "openai", "model": "m", "api_base": api_base},
            },
            env={"PYTHONPATH": str(Path(importing.__file__).parent), "KHEISH_IMPORTS": str(notes)},
        )
        with made as daemon:
            daemon.client.sessions.create("s", workspace=str(daemon.workspace))
            notes.write_text("")
            for route in ("uses", "model"):
                run = daemon.client.runs.start("s", "go", route=route, wait="15s")
                assert run.status == "completed", (route, run.data, notes.read_text())
    # pydantic loads small parts of itself when it first describes a type.
    assert [line for line in notes.read_text().splitlines() if not line.startswith("pydantic.")] == []
