"""An edit that asks shows the diff that it would make: in the API, the pending file, the Record and the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kheish.store.log import records
from tests.support.daemon import Daemon, bash, call, until

Fresh = Callable[..., Daemon]
PATCH = "--- a/app.py\n+++ b/app.py\n@@ -2,1 +2,1 @@\n-two\n+2\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,1 @@\n+new\n"
HEAD = "--- a/app.py\n+++ b/app.py\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
NEW = "--- /dev/null\n+++ b/deep/new.py\n@@ -0,0 +1 @@\n+evil␛[31m�\n"
WRITE = {"path": "deep/new.py", "content": "evil\x1b[31m\u202e\n"}
EDIT = {"path": "app.py", "old_string": "two", "new_string": "2"}
LARGE = {"path": "large.txt", "content": "many words\n" * 4000}
#: of each call: the diff; None where there is none to show
CALLS = [
    ("edit_file", EDIT, HEAD),
    ("write_file", WRITE, NEW),
    ("apply_patch", {"patch": PATCH}, HEAD + "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+new\n"),
    ("edit_file", {**EDIT, "old_string": "nowhere"}, None),
    ("write_file", {"path": "app.py", "content": "x", "expected_sha256": "0" * 64}, None),
    ("write_file", {"path": "b.bin", "content": "\0"}, None),
    ("write_file", {"path": "../out.txt", "content": "x"}, None),
]


@pytest.fixture
def asking(fresh: Fresh) -> Daemon:
    routes = {f"r{number}": [{"tool_calls": [call(tool, **arguments)]}, {"text": "done"}]
              for number, (tool, arguments, _) in enumerate(CALLS)}  # fmt: skip
    routes["large"] = [{"tool_calls": [call("write_file", **LARGE)]}, {"text": "done"}]
    routes["command"] = [bash("touch x"), {"text": "done"}]
    rules = [{"tool": tool, "match": "**", "decision": "ask"} for tool in ("write_file", "edit_file", "apply_patch")]
    daemon = fresh(routes=routes, permissions={"mode": "default", "rules": rules})
    (daemon.workspace / "app.py").write_text("one\ntwo\nthree\n")
    return daemon


def asked(daemon: Daemon, route: str) -> dict[str, Any]:
    daemon.client.sessions.create(f"s-{route}")
    run = daemon.client.runs.start(f"s-{route}", "go", route=route).wait(30)
    assert run.needs_user, run.data
    return dict(daemon.client.approvals.get(run.waits_for[0][0]))


@pytest.mark.found("C9")
def test_the_diff_is_there_before_anything_happens(asking: Daemon) -> None:
    before = sorted(path.name for path in asking.workspace.rglob("*"))
    found = [asked(asking, f"r{number}") for number in range(len(CALLS))]

    assert [one["preview"] and one["preview"]["diff"] for one in found] == [diff for _, _, diff in CALLS]
    assert all(one["preview"]["is_whole"] for one in found if one["preview"])
    assert asked(asking, "command")["preview"] is None
    large = asked(asking, "large")["preview"]
    assert not large["is_whole"] and "bytes left out" in large["diff"] and len(large["diff"]) < 13_000
    assert sorted(path.name for path in asking.workspace.rglob("*")) == before, "no file and no folder was made"
    for one in found:
        shown = asking.cli("approvals", "show", one["approval_id"]).stdout
        assert "+2" in shown or one["preview"] is None or "evil␛[31m�" in shown
        assert "\x1b" not in shown and "\u202e" not in shown


def test_the_file_shows_it_and_takes_an_answer_by_hand(asking: Daemon) -> None:
    one = asked(asking, "r1")
    file = asking.root / f"pending/approvals/{one['approval_id']}.yaml"
    until(file.exists)
    text = file.read_text()
    assert "  preview:" not in text and "preview:\n  diff: |\n    --- /dev/null\n" in text and "+evil␛[31m�" in text

    file.write_text(text.replace("decision:\n", "decision: allow\n"))
    run = asking.run(one["run_id"])

    assert run["status"] == "completed" and asking.client.problems()["items"] == []
    assert (asking.workspace / "deep/new.py").read_text() == WRITE["content"]
    asking.quiet()
    [record] = asking.root.glob(f"sessions/*/s-r1/approvals/{one['approval_id']}.yaml")
    assert records.read(record.read_bytes())["preview"] == one["preview"]
    (asking.workspace / "app.py").write_text("one\ntwo\nthree\n")
    edited = asked(asking, "r0")
    allowed = asking.client.approvals.resolve(edited["approval_id"], "allow", arguments={**EDIT, "new_string": "II"})
    assert allowed["preview"] is None, "it would be that of other arguments"
