"""Other users of the machine: where nothing says what new files may be (umask 000), nobody else can write what we make,
and what is in no commit nobody else can read."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, allow, bash, git, until

ECHO = {"driver": "scripted", "script": {"echo": True}}


@pytest.fixture
def anything_goes() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path, bits: int) -> list[str]:
    found = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return sorted(str(path.relative_to(folder)) for path in found if stat.S_IMODE(path.stat().st_mode) & bits)


def test_nobody_else_writes_a_state_root_or_reads_what_is_in_no_commit(tmp_path: Path, anything_goes: None) -> None:
    routes = {"echo": ECHO, "works": [bash("touch made"), {"text": "done"}]}
    with Daemon.fresh(tmp_path, routes=routes, permissions=allow("touch *")) as daemon:
        theirs = {"routes/echo.yaml", "routes/works.yaml", "permissions.yaml", "kheish.yaml"}  # as this test made them
        daemon.client.secrets.put("slot", "a-value-of-a-slot")
        daemon.http("POST", "/v1/tokens", {"name": "bob", "role": "reader"})
        daemon.http("POST", "/v1/auth/login-links")
        for session, route in (("s", "echo"), ("t", "works")):
            daemon.client.sessions.create(session, route=route)
            daemon.client.runs.start(session, "hello", wait="10s")
        daemon.quiet()
        daemon.client.state("gc")
        root = daemon.root
        ours = [path for path in open_to_others(root, 0o022) if path not in theirs and not made_by_git(path)]
        assert ours == []
        for private in (".kheish", ".git/kheish"):
            assert stat.S_IMODE((root / private).stat().st_mode) == 0o700
        keys = tmp_path / "home/.config/kheish"
        assert open_to_others(keys, 0o022) == [] and {stat.S_IMODE(file.stat().st_mode) for file in keys.iterdir()} == {
            0o600
        }
        assert stat.S_IMODE((daemon.workspace / "made").stat().st_mode) == 0o644
        assert "TOKEN" not in git(root, "log", "--format=%B") and daemon.token not in git(root, "log", "-p", "--all")

        shutil.rmtree(root / ".kheish", ignore_errors=True)  # it is made again, and not wider
        until((root / ".kheish/token").exists)
        assert stat.S_IMODE((root / ".kheish").stat().st_mode) == 0o700


def made_by_git(path: str) -> bool:
    """What the tester's own `git commit` has made, in a process of its own."""
    return path.startswith((".git/objects/", ".git/logs", ".git/refs/heads/main")) or path in (
        ".git/COMMIT_EDITMSG", ".git/index", ".git/ORIG_HEAD",
    )  # fmt: skip


def test_a_root_that_was_open_is_closed_at_the_next_start(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path)
    (daemon.root / ".git/kheish").mkdir(exist_ok=True)
    for folder in (".kheish", ".git/kheish"):
        (daemon.root / folder).chmod(0o777)
    try:
        daemon.start()
        modes = [stat.S_IMODE((daemon.root / folder).stat().st_mode) for folder in (".kheish", ".git/kheish")]
        assert modes == [0o700, 0o700]
    finally:
        daemon.end()
