"""Changed files by the API alone: calls that a restart did again, and what must not come out."""

from __future__ import annotations

import hashlib
from typing import Any

from kheish.domain import events
from tests.api.harness import World

PLACEHOLDER = "[redacted]"


def started(id: str, tool: str, note: dict[str, Any]) -> events.ToolStarted:
    more = {"digest": "d", "key": id, "effect": "write", "replay": "safe"}
    return events.ToolStarted(call_id=id, tool=tool, arguments={}, note=note, **more)


def finished(id: str, tool: str, detail: dict[str, Any]) -> events.ToolFinished:
    return events.ToolFinished(call_id=id, tool=tool, is_error=False, content="done", detail=detail)


async def test_a_call_that_was_done_again_keeps_what_it_found_at_first(w: World) -> None:
    """A kill between the write and its result: the call finds its own work, and the journal's diff is of nothing."""
    session = await w.session()
    run = await w.run("s", "go")
    one, two, empty = (hashlib.sha256(text).hexdigest() for text in (b"one\n", b"two\n", b""))
    (w.root.parent / "elsewhere").mkdir(exist_ok=True)
    done: list[events.Event] = []
    for path, tool, before in (("new.txt", "write_file", None), ("old.txt", "edit_file", two)):
        note = {"path": path, "before": before, "after": one}
        again = {**note, "before": one, "diff": ""} if tool == "write_file" else {**note, "found_done": True}
        done += [started(path, tool, note), started(path, tool, {**note, "before": one}), finished(path, tool, again)]
    done.append(finished("lost", "write_file", {"path": "empty", "before": empty, "after": empty, "diff": ""}))
    w.move(run["run_id"], events.RunStarted(), *done)
    await w.state.durable()

    files = {file["path"]: file for file in (await w.http.get("/v1/sessions/s/changes")).json()["items"]}

    assert {path: (file["change"], file["before_sha256"]) for path, file in files.items()} == {
        "new.txt": ("added", None),
        "old.txt": ("modified", two),
    }
    assert all(file["diff"] is None and "restarted" in file["note"] for file in files.values())
    assert session["workspace"] == files["new.txt"]["workspace"] or not files["new.txt"]["is_current"]
