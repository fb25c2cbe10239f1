"""Git worktrees of agents: made, committed, merged, discarded, and removed only on positive proof.

Git runs as a job in the workspace, with hooks off and a clean environment. Its configuration can name programs that
convert, compare and merge files: git commands that run them are confined like an agent's commands. A worktree goes when
git itself has answered that nothing in it is uncommitted or untracked, and that its commit is the base or merged. Any
other answer, and any failure, keeps it; its work is then on its branch or in its folder. A folder that goes is renamed
first: half of it would look like work that deletes files, and be committed as such after a kill.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kheish import ids
from kheish.domain.events.agents import Worktree
from kheish.errors import Fault, Invalid, KheishError, WorktreeConflict
from kheish.jobs import sandbox
from kheish.jobs.runner import Jobs, JobSpec
from kheish.runtime.tools.shell import SandboxSettings, is_confined
from kheish.store.git.command import EMAIL, NAME

_SECONDS = 120.0
_OUTPUT = 2 * 1024 * 1024
_REMOVING = ".removing"  # the end of the name of a folder that is being removed
_OWNER = "worktree"  # a job that a killed daemon left is removed at the start
#: no hooks and no programs that a repository's configuration names
_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false",
         "-c", "protocol.ext.allow=never")  # fmt: skip

#: commands that read and write refs only, and run no program of the repository
_REFS = frozenset({"rev-parse", "symbolic-ref", "merge-base", "branch", "config", "prune"})
_PROGRAMS = r"^(filter|merge|diff)\..*\.(clean|smudge|process|driver|command|textconv)$"

State = Literal["committed", "removed", "kept"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a git command; `status` is None if it did not end by itself."""

    status: int | None
    output: str

    @property
    def is_good(self) -> bool:
        return self.status == 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a worktree, with its commit or the reason why it is kept."""

    state: State
    commit: str | None = None
    reason: str | None = None


class Worktrees:
    """The worktrees of a daemon, in one folder. `settings` returns how commands are confined now."""

    def __init__(self, jobs: Jobs, folder: Path, settings: Callable[[], SandboxSettings]) -> None:
        self._jobs = jobs
        self.folder = folder
        self._settings = settings

    async def refs(self, folder: str | Path, *words: str) -> Answer:
        """Run a git command that runs no program of the repository, in a folder."""
        assert words[0] in _REFS or words[:2] == ("worktree", "prune")
        return await self._run(folder, ("git", *_SAFE, "-C", str(folder), *words), Path(folder))

    async def git(self, repository: str, folder: str | Path, *words: str) -> Answer:
        """Run any git command in a folder, confined to the repository and the worktrees."""
        settings, argv = self._settings(), ("git", *_SAFE, "-C", str(folder), *words)
        if is_confined(settings):
            try:
                argv = await asyncio.to_thread(
                    sandbox.wrap, argv, workspace=Path(repository), hide=settings.hide, read_only=settings.read_only,
                    writable=(self.folder,),
                )  # fmt: skip
            except KheishError as error:
                return Answer(None, str(error))
        elif settings.mode != "off":
            named = await self.refs(repository, "config", "--name-only", "--get-regexp", _PROGRAMS)
            if named.status != 1:  # 1: there are none
                why = "the repository's configuration names programs, and no sandbox can run them"
                return Answer(None, f"{why}: {', '.join(named.output.split())}")
        return await self._run(folder, argv, Path(repository))

    async def _run(self, folder: str | Path, argv: tuple[str, ...], cwd: Path) -> Answer:
        """Run a command. A failure to run it is an answer without a status."""
        job = ids.new("job")
        if not await asyncio.to_thread(Path(folder).is_dir):
            return Answer(None, f"The folder {folder} is missing.")
        environment = sandbox.clean_environment(Path(folder), identity=(NAME, EMAIL))
        spec = JobSpec(argv=argv, cwd=str(cwd), env=environment, timeout=_SECONDS, output_limit=_OUTPUT, owner=_OWNER)
        try:
            await self._jobs.create(job, spec)
            await self._jobs.start(job)
            end = await self._jobs.ended(job)
            await self._jobs.drop(job)
        except (KheishError, OSError) as error:
            return Answer(None, str(error))
        return Answer(end.exit_status, end.output) if end is not None else Answer(None, "git was killed")

    async def make(self, workspace: str, agent_id: str, name: str, finish: str) -> Worktree:
        """Make a worktree of the repository that a workspace lies in, on a new branch at its commit.

        Raises Invalid if the workspace is in no repository with a commit.
        """
        top = await self.refs(workspace, "rev-parse", "--show-toplevel", "--verify", "HEAD")
        lines = top.output.splitlines()
        if not top.is_good or len(lines) != 2:
            why = "the workspace is in no git repository that has a commit"
            raise Invalid(f"A worktree is not possible: {why}.", errors=[Fault("/isolation", why)])
        repository, base = lines
        path, branch = self.folder / agent_id, f"kheish/{name}-{agent_id[-8:]}"
        await asyncio.to_thread(self.folder.mkdir, 0o700, parents=True, exist_ok=True)
        added = await self.git(repository, repository, "worktree", "add", "-b", branch, str(path), base)
        if not added.is_good:
            why = _last_line(added.output)
            raise Invalid(f"The worktree cannot be made: {why}.", errors=[Fault("/isolation", why)])
        return Worktree(path=str(path), branch=branch, base=base, repository=repository, finish=finish)  # type: ignore[arg-type]

    async def ensure(self, tree: Worktree) -> bool:
        """Return whether the worktree is there; make it again from its branch if it is gone. Never uses another
        folder. Raises WorktreeConflict if it cannot be made."""
        if await asyncio.to_thread(Path(tree.path).is_dir):
            return False
        await self.refs(tree.repository, "worktree", "prune")
        known = await self.refs(tree.repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{tree.branch}")
        words = (tree.path, tree.branch) if known.is_good else ("-b", tree.branch, tree.path, tree.base)
        added = await self.git(tree.repository, tree.repository, "worktree", "add", *words)
        if not added.is_good:
            raise WorktreeConflict(f"The worktree {tree.path} is gone, and git cannot make it again: {added.output}")
        return True

    async def finish(self, tree: Worktree) -> Finished:
        """Finish the worktree of an agent that has settled, as it was asked for. A repeat after a kill finds what was
        done."""
        if tree.finish == "discard":
            return await self.discard(tree)
        if not await asyncio.to_thread(Path(tree.path).exists):
            return await self._finish_removed(tree)
        if tree.finish == "commit":
            committed = await self.commit(tree)
            if committed.state == "kept":
                return committed
        return await self.remove(tree)

    async def commit(self, tree: Worktree) -> Finished:
        """Commit everything that is not ignored to the worktree's branch. Kept as it is if git fails."""
        if (why := await self._foreign(tree)) is not None:
            return Finished("kept", reason=why)
        status = await self.git(tree.repository, tree.path, "status", "--porcelain", "--untracked-files=all")
        if not status.is_good:
            return Finished("kept", reason=_last_line(status.output))
        if status.output.strip():
            added = await self.git(tree.repository, tree.path, "add", "--all")
            if not added.is_good:
                return Finished("kept", reason=_last_line(added.output))
            made = await self.git(
                tree.repository, tree.path, "commit", "--no-verify", "--quiet", "-m", f"Work of {tree.branch}"
            )
            if not made.is_good:
                return Finished("kept", reason=_last_line(made.output))
        head = await self.refs(tree.path, "rev-parse", "--verify", "HEAD")
        if not head.is_good:
            return Finished("kept", reason=_last_line(head.output))
        return Finished("committed", commit=head.output.strip())

    async def remove(self, tree: Worktree) -> Finished:
        """Remove a worktree on positive proof that no work is in it; its branch too if it has no commit of its own."""
        if (why := await self._foreign(tree)) is not None:
            return Finished("kept", reason=why)
        status = await self.git(tree.repository, tree.path, "status", "--porcelain", "--untracked-files=all")
        head = await self.refs(tree.path, "rev-parse", "--verify", "HEAD")
        if not status.is_good or not head.is_good:
            return Finished("kept", reason=_last_line(head.output if status.is_good else status.output))
        commit = head.output.strip()
        if status.output.strip():
            return Finished("kept", commit=commit, reason="it has uncommitted or untracked files")
        if commit != tree.base and not await self._is_merged(tree, commit):
            return Finished("committed", commit=commit, reason=f"its work is on the branch {tree.branch}")
        if (why := await self._delete(tree)) is not None:
            return Finished("kept", commit=commit, reason=why)
        await self.refs(tree.repository, "branch", "--delete", tree.branch)  # refused by git if it has other commits
        return Finished("removed", commit=commit)

    async def _finish_removed(self, tree: Worktree) -> Finished:
        """Finish a worktree whose folder is gone: its branch goes, too, unless it has commits of its own."""
        await self.refs(tree.repository, "worktree", "prune")
        head = await self.refs(tree.repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{tree.branch}")
        if head.status not in (0, 1):
            return Finished("kept", reason=_last_line(head.output))
        commit = head.output.strip() or None
        if commit is not None and commit != tree.base and not await self._is_merged(tree, commit):
            return Finished("committed", commit=commit, reason=f"its work is on the branch {tree.branch}")
        await self.refs(tree.repository, "branch", "--delete", tree.branch)
        return Finished("removed", commit=commit)

    async def _delete(self, tree: Worktree) -> str | None:
        """Remove the folder, and its entry in the repository. Return why that failed."""
        path = Path(tree.path)
        if not path.is_relative_to(self.folder):
            return f"it is not in {self.folder}"
        aside = self.folder / f".{path.name}.{ids.new('job')[-8:]}{_REMOVING}"
        try:
            await asyncio.to_thread(path.rename, aside)
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)  # what is left goes at the next start
        pruned = await self.refs(tree.repository, "worktree", "prune")
        return None if pruned.is_good else _last_line(pruned.output)

    def sweep(self) -> None:
        """Remove the folders whose removal was cut off. Blocks on disk."""
        for path in self.folder.glob(f".*{_REMOVING}"):
            shutil.rmtree(path, ignore_errors=True)

    async def _is_merged(self, tree: Worktree, commit: str) -> bool:
        merged = await self.refs(tree.repository, "merge-base", "--is-ancestor", commit, "HEAD")
        return merged.is_good

    async def _foreign(self, tree: Worktree) -> str | None:
        """Return why a folder is not the worktree that was made; an agent may have changed its `.git`."""
        asked = ("rev-parse", "--path-format=absolute", "--git-common-dir")
        mine, theirs = await self.refs(tree.path, *asked), await self.refs(tree.repository, *asked)
        if not mine.is_good or not theirs.is_good:
            return _last_line(mine.output if not mine.is_good else theirs.output)
        branch = await self.refs(tree.path, "symbolic-ref", "--quiet", "HEAD")
        if mine.output != theirs.output:
            return "its .git names another repository"
        if branch.output.strip() != f"refs/heads/{tree.branch}":
            return f"it is not on its branch {tree.branch}"
        return None

    async def diff(self, tree: Worktree) -> str:
        """Return the changes since the base: of the folder if it is there, else of the branch."""
        if not await asyncio.to_thread(Path(tree.path).is_dir):
            shown = await self.git(
                tree.repository, tree.repository, "diff", "--no-ext-diff", f"{tree.base}..{tree.branch}"
            )
            return shown.output if shown.is_good else ""
        shown = await self.git(tree.repository, tree.path, "diff", "--no-ext-diff", "--no-textconv", tree.base)
        fresh = await self.git(tree.repository, tree.path, "ls-files", "--others", "--exclude-standard")
        untracked = "".join(f"?? {line}\n" for line in fresh.output.splitlines()) if fresh.is_good else ""
        return (shown.output if shown.is_good else "") + untracked

    async def merge(self, tree: Worktree) -> Finished:
        """Commit what is there, merge the branch into the workspace's own, and remove the worktree.

        Raises WorktreeConflict if git refuses; the workspace is then as before.
        """
        committed = await self.commit(tree) if await asyncio.to_thread(Path(tree.path).is_dir) else None
        if committed is not None and committed.state == "kept":
            raise WorktreeConflict(f"The worktree cannot be committed: {committed.reason}.")
        merged = await self.git(tree.repository, tree.repository, "merge", "--no-verify", "--no-edit", tree.branch)
        if not merged.is_good:
            await self.git(tree.repository, tree.repository, "merge", "--abort")
            raise WorktreeConflict(f"git cannot merge {tree.branch}: {merged.output.strip()}")
        head = await self.refs(tree.repository, "rev-parse", "--verify", "HEAD")
        await self.remove(tree)
        return Finished("committed", commit=head.output.strip() or None)

    async def discard(self, tree: Worktree) -> Finished:
        """Remove a worktree with all work in it, and its branch."""
        is_there = await asyncio.to_thread(Path(tree.path).is_dir)
        if is_there and (why := await self._delete(tree)) is not None:
            return Finished("kept", reason=why)
        await self.refs(tree.repository, "branch", "-D", tree.branch)
        return Finished("removed")

    def listed(self) -> list[str]:
        """Return the names of the folders there; blocks on disk."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(name for name in names if not name.endswith(_REMOVING))


def _last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "git gave no answer"
