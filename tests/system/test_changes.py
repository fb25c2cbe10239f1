"""`kheish changes` and its endpoint: which files a session's tools changed, and what that comes to in all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, bash, call

Fresh = Callable[..., Daemon]
LONG = "".join(f"line {number}\n" for number in range(40))


def turn(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(calls)}


def edit(path: str, old: str, new: str) -> dict[str, Any]:
    return call("edit_file", path=path, old_string=old, new_string=new)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


PATCH = (
    "--- a/long.txt\n+++ b/long.txt\n@@ -30,1 +30,1 @@\n-line 29\n+line twenty-nine\n--- a/gone.txt\n+++ /dev/null\n"
)
PATCH += "@@ -1,1 +0,0 @@\n-gone\n--- /dev/null\n+++ b/new.sh\n@@ -0,0 +1,1 @@\n+echo new\n"
BRIEF = "--- a/brief.txt\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n\\ No newline at end of file\n"
MODE = "diff --git a/new.sh b/new.sh\nold mode 100644\nnew mode 100755\n"
FIRST = [
    turn(edit("long.txt", "line 3\n", "line three\n"), call("write_file", path="a/made.txt", content="one\ntwo\n")),
    turn(call("apply_patch", patch=PATCH), call("write_file", path="brief.txt", content="x")),
    turn(call("apply_patch", patch=BRIEF)),
    turn(edit("long.txt", "nowhere", "fails"), edit("crlf.txt", "b\n", "c\n"), call("apply_patch", patch=MODE)),
    bash("echo by a command > other.txt"),
    {"text": "done"},
]  # fmt: skip
SECOND = [
    turn(edit("long.txt", "line three\n", "line 3\n"), edit("a/made.txt", "two", "2")),
    turn(edit("busy.txt", "1", "2"), edit("once.txt", "a", "b")),
    bash("echo changed >> busy.txt"),
    turn(edit("busy.txt", "2", "3"), call("write_file", path="huge.bin", content="\0" * 9)),
    {"text": "done"},
]


@pytest.fixture
def changed(fresh: Fresh) -> Daemon:
    """A session that changed files in two runs, some of which were changed by others too."""
    rules = [{"tool": tool, "match": "**", "decision": "allow"} for tool in ("write_file", "edit_file", "apply_patch")]
    rules.append({"tool": "bash", "match": "echo *", "decision": "allow"})
    daemon = fresh(routes={"one": FIRST, "two": SECOND}, permissions={"mode": "default", "rules": rules})
    for name, text in {"long.txt": LONG, "gone.txt": "gone\n", "busy.txt": "1\n", "once.txt": "a\n"}.items():
        (daemon.workspace / name).write_text(text)
    (daemon.workspace / "crlf.txt").write_bytes(b"a\r\nb\r\n")
    daemon.client.sessions.create("s")
    for route in ("one", "two"):
        daemon.client.runs.start("s", "go", route=route).wait(30)
    (daemon.workspace / "once.txt").write_text("of a user\n")
    return daemon


@pytest.mark.found("C12")
def test_what_a_session_changed_in_all(changed: Daemon) -> None:
    page = changed.client.sessions.changes("s")
    files = {file["path"]: file for file in page["items"]}
    one, two = reversed([run["run_id"] for run in changed.client.runs.list(session="s")["items"]])

    assert set(files) == {
        "long.txt",
        "a/made.txt",
        "gone.txt",
        "new.sh",
        "crlf.txt",
        "busy.txt",
        "once.txt",
        "huge.bin",
    }
    long = files["long.txt"]
    assert (long["change"], long["runs"], long["edits"], long["is_net"]) == ("modified", [one, two], 3, True)
    assert long["before_sha256"] == sha(LONG)
    assert long["after_sha256"] == sha((changed.workspace / "long.txt").read_text()) and long["is_current"]
    lines = [line for line in str(long["diff"]).split("\n")[2:] if line[:1] in ("+", "-")]
    assert lines == ["-line 29", "+line twenty-nine"], "what was changed and changed back is none"
    made = files["a/made.txt"]
    assert (made["change"], made["before_sha256"], made["is_net"], made["note"]) == ("added", None, True, None)
    assert made["diff"] == "--- /dev/null\n+++ b/a/made.txt\n@@ -0,0 +1,2 @@\n+one\n+2\n"
    assert (files["gone.txt"]["change"], files["gone.txt"]["after_sha256"]) == ("deleted", None)
    assert (files["new.sh"]["change"], files["new.sh"]["mode"], files["new.sh"]["edits"]) == ("added", "755", 2)
    assert files["crlf.txt"]["diff"] == "--- a/crlf.txt\n+++ b/crlf.txt\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n"
    busy, once, huge = files["busy.txt"], files["once.txt"], files["huge.bin"]
    assert (busy["is_net"], busy["is_current"]) == (False, True) and "in between" in str(busy["note"])
    assert "+2\n" in str(busy["diff"]) and "+3\n" in str(busy["diff"])
    assert (once["is_net"], once["is_current"]) == (True, False) and "since" in str(once["note"])
    assert (huge["diff"], huge["is_net"]) == (None, False) and "binary" in str(huge["note"])


def test_pages_filters_and_the_command(changed: Daemon) -> None:
    sessions = changed.client.sessions
    every, paths, cursor = [file["path"] for file in sessions.changes("s")["items"]], list[str](), None
    while True:
        page = sessions.changes("s", limit=3, cursor=cursor)
        paths += [file["path"] for file in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert paths == every

    def status(path: str, **more: Any) -> httpx.Response:
        return changed.http("GET", path, **more)

    assert status("/v1/sessions/none/changes").status_code == 404
    assert status("/v1/sessions/s/changes?cursor=czEuMg").json()["code"] == "invalid_cursor"
    made = changed.http("POST", "/v1/tokens", {"name": "bob", "role": "reader", "sessions": ["other-*"]}).json()
    limited = {"authorization": f"Bearer {made['token']}"}
    assert status("/v1/sessions/s/changes", headers=limited).status_code in (403, 404)

    shown, stat = changed.cli("changes", "s"), changed.cli("changes", "s", "--stat")
    assert "added a/made.txt" in shown.stdout and "+2" in shown.stdout and "changed since" in shown.stdout
    assert "bash" in shown.stderr and f"git -C {changed.workspace} diff" in shown.stderr
    assert [line.split()[-1] for line in stat.stdout.splitlines()[1:]] == every
    assert next(line for line in stat.stdout.splitlines() if "long.txt" in line).split()[:2] == ["M", "+1"]
    assert json.loads(changed.cli("changes", "s", "--output", "json").stdout)["items"] == sessions.changes("s")["items"]


def test_a_workspace_that_moved_or_went(changed: Daemon) -> None:
    elsewhere = changed.workspace.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "long.txt").write_text((changed.workspace / "long.txt").read_text())
    changed.client.sessions.patch("s", workspace=str(elsewhere))
    moved = {file["path"]: file for file in changed.client.sessions.changes("s")["items"]}["long.txt"]
    elsewhere.joinpath("long.txt").unlink()
    elsewhere.rmdir()
    gone = changed.client.sessions.changes("s")["items"]

    assert (moved["is_current"], moved["is_net"], moved["workspace"]) == (False, False, str(changed.workspace))
    assert "another folder" in str(moved["note"]) and "line three" in str(moved["diff"])
    assert len(gone) == 8 and not any(file["is_current"] for file in gone)
