"""Worktrees go on positive proof only: whatever an agent left there is found again."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.errors import Invalid, WorktreeConflict
from kheish.jobs import probing
from kheish.jobs.runner import Jobs
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.tools.shell import SandboxSettings
from tests.support.daemon import git

SETTINGS = SandboxSettings(mode="required", available=probing.probe().available)
AGENT = "agent_01m8jfw0kaeyfh6rp7aarhhb1e"


@pytest_asyncio.fixture
async def trees(tmp_path: Path) -> AsyncIterator[Worktrees]:
    repository = tmp_path / "work"
    (repository / "src").mkdir(parents=True)
    git(repository, "init", "-q", "-b", "main")
    (repository / "src" / "a.txt").write_text("one\n")
    (repository / ".gitignore").write_text("*.log\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "base")
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    (hook.parent / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hook.parent / "pre-commit").chmod(0o755)
    jobs = Jobs(tmp_path / "jobs")
    yield Worktrees(jobs, tmp_path / "trees", lambda: SETTINGS)
    jobs.close()
    assert not (tmp_path / "hook-ran").exists(), "hooks are off"


def uncommitted(path: Path) -> None:
    (path / "src" / "a.txt").write_text("two\n")


def untracked(path: Path) -> None:
    (path / "new.txt").write_text("new\n")


def commits(path: Path) -> None:
    uncommitted(path)
    git(path, "commit", "-q", "--no-verify", "-am", "mine")


def unreadable(path: Path) -> None:
    uncommitted(path)
    (path / ".git").write_text("gitdir: /nowhere\n")


def foreign(path: Path) -> None:
    """The folder claims to be a clean repository of its own."""
    uncommitted(path)
    (path / ".git").unlink()
    git(path, "init", "-q", "-b", "main")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "all mine")


def locked(path: Path) -> None:
    """Git can write nothing, as on a full disk."""
    uncommitted(path)
    folder = git(path, "rev-parse", "--git-dir").strip()
    (Path(folder) / "index.lock").write_text("")


def nothing(path: Path) -> None:
    (path / "build.log").write_text("ignored\n")


@pytest.mark.parametrize(
    ("what", "finish", "state"),
    [
        (nothing, "commit", "removed"),
        (nothing, "keep", "removed"),
        (uncommitted, "keep", "kept"),
        (untracked, "keep", "kept"),
        (uncommitted, "commit", "committed"),
        (untracked, "commit", "committed"),
        (commits, "keep", "committed"),
        (unreadable, "commit", "kept"),
        (foreign, "commit", "kept"),
        (locked, "commit", "kept"),
        (uncommitted, "discard", "removed"),
    ],
)
@pytest.mark.demand(23)
async def test_23_a_worktree_is_removed_on_positive_proof_only(
    trees: Worktrees, tmp_path: Path, what: Callable[[Path], None], finish: str, state: str
) -> None:
    repository = tmp_path / "work"
    tree = await trees.make(str(repository / "src"), AGENT, "kid", finish)
    path = Path(tree.path)
    assert (path / "src" / "a.txt").read_text() == "one\n" and trees.listed() == [AGENT]
    what(path)

    done = await trees.finish(tree)

    assert done.state == state, done
    assert path.is_dir() == (state != "removed")
    if state == "kept":
        assert done.reason and ((path / "src" / "a.txt").read_text() == "two\n" or (path / "new.txt").exists())
    if state == "committed":
        shown = git(repository, "diff", "--stat", f"{tree.base}..{tree.branch}")
        assert "1 file changed" in shown, "the work is on the branch"
    assert (repository / "src" / "a.txt").read_text() == "one\n"


@pytest.mark.demand(23)
async def test_23_a_removal_that_was_cut_off_is_finished(trees: Worktrees, tmp_path: Path) -> None:
    """A kill after the folder was renamed, and before git forgot it: no deletion is taken for work."""
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    aside = trees.folder / f".{AGENT}.00000000.removing"
    Path(tree.path).rename(aside)
    (aside / "src" / "a.txt").unlink()
    assert trees.listed() == []

    done = await trees.finish(tree)
    trees.sweep()

    assert done.state == "removed" and not list(trees.folder.iterdir())
    assert git(repository, "branch", "--list", tree.branch) == ""
    assert git(repository, "worktree", "list").count("\n") == 1


@pytest.mark.demand(23)
async def test_23_a_kill_between_the_commit_and_the_removal(trees: Worktrees, tmp_path: Path) -> None:
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    uncommitted(Path(tree.path))
    first = await trees.commit(tree)

    done = await trees.finish(tree)
    Path(tree.path).rename(tmp_path / "elsewhere")
    gone = await trees.finish(tree)

    assert [one.commit for one in (done, gone)] == [first.commit] * 2 and gone.state == "committed"
    assert git(repository, "rev-list", "--count", f"{tree.base}..{tree.branch}").strip() == "1"
    assert git(repository, "show", f"{tree.branch}:src/a.txt") == "two\n"


@contextlib.contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", disk]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A full disk for the worktrees."""
    with mounted(tmp_path / "trees") as disk:
        yield disk


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A full disk for the repository."""
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.mark.parametrize("what", [uncommitted, untracked, nothing])
@pytest.mark.demand(23)
async def test_23_a_full_disk_loses_no_work(
    small_disk: Path, trees: Worktrees, tmp_path: Path, what: Callable[[Path], None]
) -> None:
    """The worktree is on a full disk; the repository's objects are elsewhere, its own index too."""
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    path = Path(tree.path)
    what(path)
    before = {name.relative_to(path): name.read_bytes() for name in path.rglob("*.txt")}
    fill(small_disk / "filler")

    done = await trees.finish(tree)

    if what is nothing:
        assert done.state == "removed"
        return
    assert done.state in ("committed", "kept"), done
    assert {name.relative_to(path): name.read_bytes() for name in path.rglob("*.txt")} == before
    (small_disk / "filler").unlink()
    assert (await trees.finish(tree)).state == "committed"


@pytest.mark.demand(23)
async def test_23_a_repository_on_a_full_disk_keeps_the_worktree(
    other_disk: Path, trees: Worktrees, tmp_path: Path
) -> None:
    """Git cannot write the commit: the folder with the work stays until it can."""
    git(tmp_path / "work", "clone", "-q", ".", str(other_disk / "work"))
    tree = await trees.make(str(other_disk / "work"), AGENT, "kid", "commit")
    (Path(tree.path) / "new.txt").write_bytes(os.urandom(64 * 1024))
    fill(other_disk / "filler")
    done = await trees.finish(tree)
    assert done.state == "kept" and done.reason and (Path(tree.path) / "new.txt").stat().st_size == 64 * 1024
    (other_disk / "filler").unlink()
    assert (await trees.finish(tree)).state == "committed"
    assert "new.txt" in git(other_disk / "work", "ls-tree", "--name-only", tree.branch).splitlines()


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


async def test_a_worktree_is_merged_and_then_removed(trees: Worktrees, tmp_path: Path) -> None:
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    uncommitted(Path(tree.path))
    assert "+two" in await trees.diff(tree)
    await trees.merge(tree)
    assert (repository / "src" / "a.txt").read_text() == "two\n" and not Path(tree.path).exists()
    assert git(repository, "branch", "--list", "kheish/*") == ""


async def test_a_conflict_leaves_everything_as_it_was(trees: Worktrees, tmp_path: Path) -> None:
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    uncommitted(Path(tree.path))
    (repository / "src" / "a.txt").write_text("three\n")
    git(repository, "commit", "-q", "--no-verify", "-am", "another")
    with pytest.raises(WorktreeConflict):
        await trees.merge(tree)
    assert (repository / "src" / "a.txt").read_text() == "three\n" and git(repository, "status", "--short") == ""
    assert "+two" in await trees.diff(tree)


async def test_a_worktree_that_is_gone_comes_back_from_its_branch(trees: Worktrees, tmp_path: Path) -> None:
    repository = tmp_path / "work"
    tree = await trees.make(str(repository), AGENT, "kid", "commit")
    commits(Path(tree.path))
    git(repository, "worktree", "remove", "--force", tree.path)
    assert await trees.ensure(tree) and (Path(tree.path) / "src" / "a.txt").read_text() == "two\n"
    assert not await trees.ensure(tree)
    git(repository, "worktree", "remove", "--force", tree.path)
    (repository / ".git").rename(repository / "git")
    with pytest.raises(WorktreeConflict):
        await trees.ensure(tree)


async def test_a_folder_without_a_repository_has_no_worktrees(trees: Worktrees, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(Invalid):
        await trees.make(str(tmp_path / "plain"), AGENT, "kid", "commit")
