"""Programs that a repository's configuration names do not run outside the sandbox for an agent's worktree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish.errors import Invalid
from kheish.jobs import probing
from kheish.jobs.runner import Jobs
from kheish.runtime.agents.worktrees import Worktrees
from kheish.runtime.tools.shell import SandboxSettings
from tests.support.daemon import git

AGENT = "agent_01m8jfw0kaeyfh6rp7aarhhb1e"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository whose filter, merge driver and text conversion each write a file outside of it."""
    repository = tmp_path / "work"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / ".gitattributes").write_text("*.txt filter=evil merge=evil diff=evil\n")
    (repository / "a.txt").write_text("one\n")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "base")
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "diff.evil.command"):
        git(repository, "config", key, f"touch {tmp_path}/escaped; cat")
    git(repository, "config", "merge.evil.driver", f"touch {tmp_path}/escaped; exit 0")
    return repository


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs")
    yield jobs
    jobs.close()


@pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")
async def test_they_run_confined(tmp_path: Path, hostile: Path, jobs: Jobs) -> None:
    trees = Worktrees(jobs, tmp_path / "trees", lambda: SandboxSettings(mode="required", available=True))
    tree = await trees.make(str(hostile), AGENT, "kid", "commit")
    (Path(tree.path) / "a.txt").write_text("two\n")
    assert "two" in await trees.diff(tree)
    (hostile / "a.txt").write_text("three\n")
    git(hostile, "-c", "filter.evil.clean=", "commit", "-q", "-am", "another")
    await trees.merge(tree)
    assert not (tmp_path / "escaped").exists()


async def test_without_a_sandbox_they_are_refused(tmp_path: Path, hostile: Path, jobs: Jobs) -> None:
    trees = Worktrees(jobs, tmp_path / "trees", lambda: SandboxSettings(mode="ask", available=False))
    with pytest.raises(Invalid, match=r"filter\.evil\.smudge"):
        await trees.make(str(hostile), AGENT, "kid", "commit")
    assert not (tmp_path / "escaped").exists() and not trees.listed()
