"""Which folders may be a workspace, who chooses which, and that what the daemon keeps to itself is not opened in any:
not by a path, not by a hard link, not by a mount, not in the state root of another daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kheish.beneath import Door, Hidden, files, targets, walk
from kheish.config import Config
from kheish.domain import workspaces
from kheish.errors import NotBeneath, WorkspaceNotAllowed
from kheish.runtime.tools import registry
from kheish.runtime.tools.base import ToolError
from kheish.runtime.tools.shell import SandboxSettings
from tests.api.harness import World, world
from tests.runtime.harness import living
from tests.runtime.tools.conftest import context, jobs, root  # noqa: F401 - fixtures

SECRET = "AGE-SECRET-KEY-1"


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def token(w: World, name: str, role: str, **more: Any) -> dict[str, str]:
    made = (await w.http.post("/v1/tokens", json={"name": name, "role": role, **more})).json()
    return {"Authorization": f"Bearer {made['token']}"}


@pytest.mark.found("S4")
@pytest.mark.parametrize(
    ("workspace", "keys"),
    [
        ("home", "home/.config/kheish"), ("home/.config", "home/.config/kheish"),
        ("home/.config/kheish", "home/.config/kheish"), ("home/.config/kheish/x", "home/.config/kheish"),
        ("home/link", "home/.config/kheish"), ("home/code", "home/code/id.txt"), ("other", "none"),
        ("other/.kheish", "none"), ("other/sessions", "none"), (".", "none"), ("cloned", "none"),
    ],
)  # fmt: skip
def test_what_overlaps_with_keys_or_state(tmp_path: Path, workspace: str, keys: str) -> None:
    for folder in (
        "home/.config/kheish/x",
        "home/code",
        "other/.kheish",
        "other/sessions",
        "other/.git",
        "cloned/.git/kheish",
        "free",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "other/format.yaml").touch()
    (tmp_path / "cloned/format.yaml").touch()
    (tmp_path / "home/code/id.txt").touch()
    (tmp_path / "home/link").symlink_to(".config")
    hidden = Hidden((tmp_path / keys,))
    with pytest.raises(WorkspaceNotAllowed, match="overlap"):
        workspaces.check(hidden, tmp_path / workspace)
    assert workspaces.check(hidden, tmp_path / "free") == tmp_path / "free"


@pytest.mark.parametrize("name", [".kheish/token", ".git/kheish/tokens.json", "format.yaml", "in/.kheish/token"])
def test_no_single_file_makes_a_workspace_a_state_root(tmp_path: Path, name: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "notes").write_text("kept")
    assert workspaces.check(Hidden(()), tmp_path) == tmp_path
    assert files.read(Door(tmp_path), "notes", 9) == b"kept"


@pytest.mark.parametrize("path", [".kheish/token", ".KHEISH/x", "deep/.kheish/x", "deep/../.kheish/token"])
def test_no_tool_writes_what_a_daemon_would_make(tmp_path: Path, path: str) -> None:
    (tmp_path / "deep").mkdir()
    with pytest.raises(NotBeneath, match="belongs to the daemon"), walk.place(Door(tmp_path), path, walk.Intent.CREATE):
        pass
    assert targets.resolve_target(Door(tmp_path), path).refused == "git"


@pytest.mark.parametrize("workspace", ["/proc", "/proc/self", "/proc/1/fd", "/tmp\0/x", "tmp"])
def test_what_shows_the_daemon_itself_or_is_no_path(workspace: str) -> None:
    with pytest.raises(WorkspaceNotAllowed):
        workspaces.check(Hidden(()), Path(workspace))


@pytest.mark.found("S4")
async def test_who_chooses_which_workspace(w: World, tmp_path: Path) -> None:
    listed, outside = tmp_path / "listed" / "one", tmp_path / "outside"
    for folder in (listed, outside, tmp_path / "work" / "sub"):
        folder.mkdir(parents=True)
    (tmp_path / "listed" / "out").symlink_to(outside)
    w.parts.workspaces._config = lambda: Config(workspaces=[str(tmp_path / "list*")])  # type: ignore[attr-defined]
    await w.session("mine")
    admin, operator = {}, await token(w, "op", "operator")
    limited = await token(w, "lim", "operator", sessions=["mine"])
    for who, named, status in (
        (admin, outside, 201), (operator, outside, 403), (operator, listed, 201), (operator, listed.parent, 201),
        (operator, tmp_path / "listed" / "out", 403), (operator, tmp_path / "work" / "sub", 201),
        (operator, listed / ".." / ".." / "outside", 403), (operator, w.root, 400), (operator, "relative", 400),
        (operator, tmp_path / "keys", 400), (admin, tmp_path, 400),
    ):  # fmt: skip
        answer = await w.http.post("/v1/sessions", json={"workspace": str(named)}, headers=who)
        assert answer.status_code == status, (named, answer.text)
    for who, named, status in (
        (limited, str(listed), 403), (limited, str(outside), 403), (limited, str(tmp_path / "work" / "sub"), 403),
        (limited, None, 403), (operator, str(outside), 403), (operator, None, 200), (operator, str(listed), 200),
        (limited, str(listed), 200),  # as it is
    ):  # fmt: skip
        answer = await w.http.patch("/v1/sessions/mine", json={"workspace": named}, headers=who)
        assert answer.status_code == status, (named, answer.text)


async def test_a_fork_of_an_earlier_moment_brings_no_earlier_workspace(w: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made = await w.session("s", workspace=str(outside))
    operator = await token(w, "op", "operator")
    assert (await w.http.patch("/v1/sessions/s", json={"workspace": None})).status_code == 200
    for who, status in ((operator, 403), ({}, 201)):
        body = {"session_id": "f", "at": f"n:{made['last_n']}"}
        answer = await w.http.post("/v1/sessions/s/fork", json=body, headers=who)
        assert answer.status_code == status, answer.text
    assert answer.json()["workspace"] == str(outside)
    now = await w.http.post("/v1/sessions/s/fork", json={"session_id": "g"}, headers=operator)
    assert now.status_code == 201


TOOLS = registry.builtin(lambda: SandboxSettings(mode="off", available=False))
CALLS = {
    "read_file": lambda path: {"path": path},
    "edit_file": lambda path: {"path": path, "old_string": "S", "new_string": "x"},
    "write_file": lambda path: {"path": path, "content": "x"},
    "grep_search": lambda path: {"path": path, "pattern": "AGE"},
    "apply_patch": lambda path: {"patch": f"--- a/{path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-{SECRET}\n"},
    "list_files": lambda path: {"path": path},
    "glob_search": lambda path: {"path": path, "pattern": "*"},
}


@pytest.mark.found("S4")
@pytest.mark.parametrize("tool", CALLS)
@pytest.mark.parametrize("path", ["hard", "other/secret", "own/secret", "own/deep/secret", "link"])
async def test_what_is_hidden_is_opened_by_no_name(tool: str, path: str, context: Any, root: Path) -> None:  # noqa: F811
    keys = root.parent / "keys"
    for folder in (keys, root / "other" / ".kheish", root / "other" / ".git", root / "own" / "deep"):
        folder.mkdir(parents=True)
    (root / "other" / "format.yaml").touch()
    for name in (keys / "id", root / "other" / "secret", root / "own" / "secret", root / "own" / "deep" / "secret"):
        name.write_text(SECRET + "\n")
    os.link(keys / "id", root / "hard")
    (root / "link").symlink_to("own/secret")
    given = context(hidden=Hidden((keys, root / "own")))
    where = path if tool not in ("list_files", "glob_search") or "/" not in path else path.rpartition("/")[0]
    found = TOOLS[tool]
    try:
        said = str((await found.run(found.parse(CALLS[tool](where)), given)).content)  # type: ignore[union-attr]
    except ToolError as error:
        said = str(error)
    assert SECRET not in said and "secret" not in said.replace(where, "")
    assert (keys / "id").read_text() == (root / "own" / "deep" / "secret").read_text() == SECRET + "\n"
    for engine in ("grep_search", "glob_search"):
        tried = {"pattern": "AGE" if engine == "grep_search" else "**"}
        said = str((await TOOLS[engine].run(TOOLS[engine].parse(tried), given)).content)  # type: ignore[union-attr]
        assert SECRET not in said and "deep" not in said and "hard" not in said
    assert targets.resolve_target(given.door, path).refused in ("hidden", "outside")


def test_a_mount_of_what_is_hidden(tmp_path: Path) -> None:
    """In a mount namespace of its own, where this machine lets a test have one."""
    for name in ("keys", "work/mnt"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keys" / "id").write_text(SECRET)
    script = f"""
from pathlib import Path
from kheish.beneath import Door, Hidden, files
from kheish.domain import workspaces
from kheish.errors import KheishError
hidden = Hidden((Path({str(tmp_path / "keys")!r}),))
assert (Path({str(tmp_path)!r}) / "work/mnt/id").read_text() == {SECRET!r}
for go in (lambda: files.read(Door(Path({str(tmp_path / "work")!r}), hidden), "mnt/id", 99),
           lambda: workspaces.check(hidden, Path({str(tmp_path / "work" / "mnt")!r}))):
    try:
        print(go())
    except KheishError as error:
        print(type(error).__name__)
"""
    words = ["unshare", "-rm", "sh", "-c", 'mount --bind "$1" "$2" && exec "$3" -c "$4"', "sh"]
    words += [str(tmp_path / "keys"), str(tmp_path / "work" / "mnt"), os.sys.executable, script]  # type: ignore[attr-defined]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0 and ("mount" in done.stderr or "unshare" in done.stderr):
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.stdout.split() == ["NotBeneath", "WorkspaceNotAllowed"], done.stderr


def test_a_workspace_whose_folder_became_a_link(tmp_path: Path) -> None:
    """As an agent whose workspace lies above can make it."""
    (tmp_path / "work" / "inner").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text(SECRET)
    door = Door(workspaces.check(Hidden(), tmp_path / "work" / "inner"))
    (tmp_path / "work" / "inner").rmdir()
    (tmp_path / "work" / "inner").symlink_to(tmp_path / "secret")
    with pytest.raises(NotBeneath, match="is now a link"):
        files.read(door, "key", 100)


async def test_a_session_that_has_such_a_workspace_already_runs_nothing(tmp_path: Path) -> None:
    """It was made before, or came with a restore."""
    async with living(tmp_path) as it:
        it.state.hidden = Hidden((it.workspace / "keys" / "id",))
        run = await it.ask()
        assert run.error is not None and (run.status, run.error.code) == ("failed", "workspace_not_allowed")
