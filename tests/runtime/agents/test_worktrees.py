"""Worktrees go on positive proof only: whatever an agent left there is found again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
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
