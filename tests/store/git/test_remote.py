"""The user's own git in a child process: it asks nobody, ends in time, and tells no secret."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from kheish.errors import BackupFailed
from kheish.store.git import command as starting, remote
from tests.store.roots import git, make


async def _commit(root: Path) -> str:
    return git(root, "rev-parse", "HEAD")


async def test_push_says_whether_the_remote_has_moved_and_carries_annotated_tags(tmp_path: Path) -> None:
    root, bare = make(tmp_path), tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(root, "remote", "add", "origin", f"file://{bare}")
    git(root, "tag", "-am", "kept", "kept")
    to = await remote.target(root, "origin")
    first = await _commit(root)
    assert await remote.push(root, to, first)
    assert await remote.push(root, to, first), "nothing new is no failure"
    assert git(bare, "rev-parse", "main", "kept^{commit}") == f"{first}\n{first}"
    git(tmp_path, "clone", "-q", "-b", "main", str(bare), "other")
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "theirs")
    git(tmp_path / "other", "push", "-q")
    assert not await remote.push(root, to, first)
    await remote.fetch(root, to)
    assert git(root, "rev-parse", to.tracking) == git(bare, "rev-parse", "main")
    assert git(root, "rev-parse", "HEAD") == first


async def test_a_branch_of_another_name_is_pushed_to_where_main_follows_it(tmp_path: Path) -> None:
    root, bare = make(tmp_path), tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(root, "remote", "add", "store", str(bare))
    git(root, "push", "-q", "-u", "store", "main:state")
    to = await remote.target(root, "store")
    assert (to.ref, to.tracking) == ("refs/heads/state", "refs/remotes/store/state")
    assert await remote.push(root, to, await _commit(root))
    assert git(bare, "for-each-ref", "--format=%(refname)") == "refs/heads/state"


async def test_a_refusal_is_told_without_the_credentials_of_the_address(tmp_path: Path) -> None:
    root = make(tmp_path)
    git(root, "remote", "add", "origin", "http://ada:s3cret-s3cret@127.0.0.1:9/remote.git")
    to = await remote.target(root, "origin")
    with pytest.raises(BackupFailed) as found:
        await remote.push(root, to, await _commit(root))
    assert to.url == "http://127.0.0.1:9/remote.git"
    assert "s3cret" not in found.value.detail and "127.0.0.1:9" in found.value.detail
    with pytest.raises(BackupFailed, match="no git remote 'nope'"):
        await remote.target(root, "nope")
    with pytest.raises(BackupFailed, match="not a valid name"):
        await remote.target(root, "--upload-pack=x")


async def test_a_hook_that_refuses_is_named(tmp_path: Path) -> None:
    root, bare = make(tmp_path), tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho the quota is used up >&2\nexit 1\n")
    hook.chmod(0o755)
    git(root, "remote", "add", "origin", str(bare))
    with pytest.raises(BackupFailed, match=r"pre-receive hook declined.*the quota is used up"):
        await remote.push(root, await remote.target(root, "origin"), await _commit(root))


async def test_what_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    root, pid = make(tmp_path), tmp_path / "pid"
    git(root, "remote", "add", "origin", "ssh://nobody@localhost/remote.git")
    git(root, "config", "core.sshCommand", f"sh -c 'echo $$ > {pid}; exec sleep 60' --")
    began = time.monotonic()
    with pytest.raises(BackupFailed, match=r"git push did not end within 0\.5 s"):
        await remote.push(root, await remote.target(root, "origin"), await _commit(root), timeout=0.5)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        while True:  # it is killed; the kernel may take a moment to reap it
            os.kill(int(pid.read_text()), 0)
            assert time.monotonic() - began < 10
            await asyncio.sleep(0.01)


def test_the_environment_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    environ = starting.environment()
    assert environ["GIT_TERMINAL_PROMPT"] == "0" and environ["SSH_AUTH_SOCK"] == "/agent"
    assert "GIT_DIR" not in environ
