"""A background command swaps names of the workspace for links that lead out, in one step (`renameat2` with EXCHANGE),
while the daemon reads and writes there: not a byte from outside comes in, none goes out."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kheish.beneath import Door, Hidden, files, ignores, kernel, targets, walk
from kheish.beneath.door import opened
from kheish.beneath.expand import expand
from kheish.beneath.walk import Intent
from kheish.domain import approvals, references
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.errors import EvidenceUnresolved, NotBeneath
from kheish.runtime import binding, prompt
from kheish.runtime.executor import Local
from tests.runtime.harness import Live, call, living

SECRET = b"the-admin-token-of-the-daemon"
ROUNDS = 1500
#: swaps two names as fast as it can, until its input ends
SWAP = """
import ctypes, os, select, sys
libc = ctypes.CDLL(None)
one, other = map(os.fsencode, sys.argv[1:3])
print("swapping", flush=True)
while True:
    for _ in range(200):
        libc.renameat2(-100, one, -100, other, 2)
    if select.select([0], [], [], 0)[0]:
        break
"""


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    words = [sys.executable, "-I", "-S", "-c", SWAP, str(one), str(other)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"swapping\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with `AGENTS.md` and `docs/`, a link `out` for each, and what is outside."""
    root, outside = tmp_path / "work", tmp_path / "outside"
    for folder in (root / "docs", outside / "docs"):
        folder.mkdir(parents=True)
    for name in ("AGENTS.md", "docs/AGENTS.md", "docs/key"):
        (root / name).write_bytes(b"inside")
        (outside / name).write_bytes(SECRET)
    (root / "out.md").symlink_to(outside / "AGENTS.md")
    (root / "out").symlink_to(outside / "docs")
    return root


def unharmed(root: Path) -> bool:
    outside = root.parent / "outside"
    found = {path.relative_to(outside).as_posix(): path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    return found == dict.fromkeys(("AGENTS.md", "docs/AGENTS.md", "docs/key"), SECRET)


@pytest.mark.found("S1")
@pytest.mark.parametrize("has_call", [True, False], ids=["openat2", "openat"])
def test_thousands_of_swaps_of_a_file_and_of_a_folder(
    root: Path, has_call: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_call:
        monkeypatch.setattr(kernel, "_openat2", lambda *_: None)
    door = Door(root)
    seen: dict[bytes, int] = {}
    for one, other, path in (("AGENTS.md", "out.md", "AGENTS.md"), ("docs", "out", "docs/key")):
        with swapping(root / one, root / other):
            for number in range(ROUNDS):
                try:
                    found = files.read(door, path, 100)
                except NotBeneath as error:
                    found = error.reason.encode()
                seen[found] = seen.get(found, 0) + 1
                if number % 10 == 0:
                    _write(door, f"docs/new-{number}" if one == "docs" else "AGENTS.md")
    assert SECRET not in seen and set(seen) <= {b"inside", b"mine", b"outside", b"special", b"unreadable"}
    assert seen[b"outside"] > 50, "it was a link often enough"
    assert unharmed(root)


def _write(door: Door, path: str) -> None:
    try:
        with walk.place(door, path, Intent.CREATE) as here:
            files.replace(here, b"mine", key="k")
    except NotBeneath:
        pass


def test_digests_patterns_targets_and_ignore_files_of_what_is_swapped(root: Path) -> None:
    door = Door(root)
    (root / "docs" / ".gitignore").write_text("inside\n")
    (root.parent / "outside" / "docs" / ".gitignore").write_bytes(SECRET + b"\n")
    place = references.Place(index=None, root=root, workspace=door)  # type: ignore[arg-type]  # a file needs none
    with swapping(root / "docs", root / "out"):
        digests, facts, lines = set(), set(), set()
        for _ in range(ROUNDS // 5):
            found = files.digest(door, "docs/key")
            digests.add(found.sha256 if found else None)
            assert set(expand(door, "d*/k*")) <= {"docs/key"}
            assert targets.resolve_target(door, "docs/key").names in (None, ("docs", "key"))
            with opened(door) as top:
                lines.add(ignores.above(top, "docs/sub"))
            try:
                facts.add(references.resolve(place, "file", "docs/key")["sha256"])
            except EvidenceUnresolved:
                facts.add(None)
    assert len(digests - {None}) == 1 and digests - {None} == facts - {None}
    assert not any(SECRET in one for one in lines)
    (root / "check").write_bytes(b"inside")
    assert {files.digest(door, "check").sha256} == digests - {None}  # type: ignore[union-attr]


@pytest.mark.found("S1")
async def test_instructions_are_never_those_of_another_folder(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        (tmp_path / "secret").write_bytes(SECRET)
        (it.workspace / "AGENTS.md").write_text("inside")
        (it.workspace / "out.md").symlink_to(tmp_path / "secret")
        run = it.submit_run()
        seen = set()
        with swapping(it.workspace / "AGENTS.md", it.workspace / "out.md"):
            for _ in range(ROUNDS):
                parts = {part.name: part.text for part in await prompt.sections(it.state, run, {})}
                seen.add(parts.get("Project instructions (AGENTS.md)", ""))
        assert seen == {"", "inside"}


def exchange(one: Path, other: Path) -> None:
    """Swap two names once."""
    assert ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


CALLS = {
    "write_file": {"path": "docs/x", "content": "pwned"},
    "edit_file": {"path": "docs/x", "old_string": "kept", "new_string": "pwned"},
    "apply_patch": {"patch": "--- a/docs/x\n+++ b/docs/x\n@@ -1 +1 @@\n-kept\n+pwned\n"},
}


@pytest.mark.found("S1")
@pytest.mark.parametrize("tool", CALLS)
async def test_a_folder_swapped_for_a_link_while_the_approval_waits(tmp_path: Path, tool: str) -> None:
    """The link stays inside, and leads to a folder that is denied: the write lands where it was judged, or nowhere."""
    async with living(tmp_path) as it:
        deny = {"tool": tool, "match": "denied/**", "decision": "deny"}
        it.state.definitions.permissions = it.state.definitions.permissions.model_validate({"rules": [deny]})
        for folder in ("docs", "denied"):
            (it.workspace / folder).mkdir()
            (it.workspace / folder / "x").write_text("kept\n")
        (it.workspace / "other").symlink_to("denied")
        it.script(call(tool, **CALLS[tool]), {"text": "done: {{last_result}}"})
        run = await it.ask()
        assert run.status is Status.WAITING_FOR_APPROVAL
        exchange(it.workspace / "docs", it.workspace / "other")
        [pending] = [one for one in it.state.loaded(Approval) if one.status == "pending"]
        approvals.resolve(it.state, pending.approval_id, "allow", by="ann", via="api")
        run = await it.rest(run.run_id)
        assert (it.workspace / "denied" / "x").read_text() == "kept\n"
        [(is_error, _, content)] = it.results()
        assert is_error and "link" in content


@pytest.mark.parametrize(("tool", "arguments"), [("read_file", {"path": "l/x"}), ("write_file", CALLS["write_file"])])
async def test_what_was_judged_through_a_link_is_what_is_opened(
    tmp_path: Path, tool: str, arguments: dict[str, str]
) -> None:
    """A link is followed for the rules, and where it leads then is where the call goes, whatever it leads to later."""
    async with living(tmp_path) as it:
        it.allow("read_file")
        for folder in ("good", "bad"):
            (it.workspace / folder).mkdir()
            (it.workspace / folder / "x").write_text(f"{folder}\n")
        (it.workspace / "l").symlink_to("good")
        (it.workspace / "docs").symlink_to("good")
        it.script(call(tool, **arguments), {"text": "done: {{last_result}}"})
        run = await it.ask()
        [decided] = it.data("permission.decided")
        assert decided["resolved"] == {arguments["path"]: "good/x"}
        if run.status is Status.WAITING_FOR_APPROVAL:
            (it.workspace / "docs").unlink()
            (it.workspace / "docs").symlink_to("bad")
            [pending] = [one for one in it.state.loaded(Approval) if one.status == "pending"]
            approvals.resolve(it.state, pending.approval_id, "allow", by="ann", via="api")
            await it.rest(run.run_id)
            assert (it.workspace / "good" / "x").read_text() == "pwned"
        assert (it.workspace / "bad" / "x").read_text() == "bad\n"
        assert not it.results()[0][0]


async def test_a_deny_holds_for_a_link_to_what_is_denied(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        deny = {"tool": "*", "match": "secret/**", "decision": "deny"}
        rules = [{**deny, "tool": one} for one in ("read_file", "list_files", "grep_search", "glob_search")]
        it.state.definitions.permissions = it.state.definitions.permissions.model_validate({"rules": rules})
        (it.workspace / "secret").mkdir()
        (it.workspace / "secret" / "AGENTS.md").write_bytes(SECRET)
        (it.workspace / "l").symlink_to("secret/AGENTS.md")
        (it.workspace / "f").symlink_to("secret")
        (it.workspace / "AGENTS.md").symlink_to("secret/AGENTS.md")
        it.script(
            call("read_file", path="l"), call("read_file", path="f/AGENTS.md"), call("read_file", path=r"\x6c"),
            call("read_file", path=r"secre\x74/AGENTS.md"), call("list_files", path="f"),
            call("grep_search", path="f", pattern="."), call("glob_search", path="f", pattern="*"), {"text": "done"},
        )  # fmt: skip
        run = await it.ask()
        assert [code for _, code, _ in it.results()] == ["permission_denied"] * 7
        parts = {part.name: part.text for part in await prompt.sections(it.state, run, {})}
        assert "Project instructions (AGENTS.md)" not in parts


TARGETS = {
    "src/y": (("src", "y"), None), "docs/l": (("src", "y"), None), "g/config": (None, "git"), "g": (None, "git"),
    ".GIT/x": (None, "git"), "../x": (None, "outside"), "out": (None, "outside"), "out/x": (None, "outside"),
    "/etc/passwd": (None, "outside"), "fifo": (None, "special"), "docs": (None, "special"), "new": (("new",), None),
    "no/such": (None, "missing"), "circle": (None, "loop"), "hard": (None, "hidden"), "keys/id": (None, "hidden"),
    "docs/../src/y": (("src", "y"), None), r"a\x41": ((r"a\\x41",), None),
}  # fmt: skip


@pytest.mark.found("S1")
def test_what_a_redirection_really_is(tmp_path: Path) -> None:
    root, keys = tmp_path / "work", tmp_path / "keys"
    for folder in (root / "docs", root / "src", root / ".git", keys):
        folder.mkdir(parents=True)
    (root / "src" / "y").touch()
    (keys / "id").write_bytes(SECRET)
    (root / "docs" / "l").symlink_to("../src/y")
    (root / "g").symlink_to(".git")
    (root / "out").symlink_to(tmp_path)
    (root / "circle").symlink_to("circle")
    os.mkfifo(root / "fifo")
    os.link(keys / "id", root / "hard")
    (root / "keys").mkdir()
    door = Door(root, Hidden((keys, root / "keys")))
    for path, (names, refused) in TARGETS.items():
        found = targets.resolve_target(door, path)
        assert (found.names, found.refused) == (names, refused), path
    found = targets.resolve_target(door, "l", "docs")
    assert (found.names, found.is_link, found.exists) == (("src", "y"), True, True)
    found = targets.resolve_target(door, f"{root}/new")
    assert (found.names, found.is_link, found.exists) == (("new",), False, False)


async def test_what_an_approval_binds_is_what_lies_inside(tmp_path: Path) -> None:
    async with living(tmp_path) as it:
        await _binds(it, tmp_path)


async def _binds(it: Live, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "key").write_bytes(SECRET)
    (it.workspace / "in").mkdir()
    (it.workspace / "in" / "key").write_text("x")
    (it.workspace / "link").symlink_to(folder / "out")
    for number in range(8):
        (it.workspace / f"dot{number}").symlink_to(".")
    bound = await binding.bind(it.state, it.submit_run(), "bash", {"command": "cat */key " + "*/" * 12 + "x"}, Local())
    assert [one["path"] for one in bound.files] == ["in/key"]
