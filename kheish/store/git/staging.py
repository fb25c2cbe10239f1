"""`.git/index`, brought along behind the daemon's commits, and what a person did to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode

from kheish.store import files, lock, names
from kheish.store.git import command as git
from kheish.store.git.hold import BRANCH, Held
from kheish.store.git.repo import Blob, Changes, Difference

#: seconds after which a system has long written back what nobody fsynced
_WRITTEN_BACK = 600.0
_ARGUMENTS = 500  # paths of one command


class _Entry(pygit2.IndexEntry):
    """An index entry with the file's stat, without which `git status` would read every file that the daemon wrote."""

    stat: os.stat_result | None = None

    def _to_c(self) -> Any:
        raw, keep = super()._to_c()
        if self.stat is not None:
            for name, nanoseconds in (("ctime", self.stat.st_ctime_ns), ("mtime", self.stat.st_mtime_ns)):
                field = getattr(raw, name)
                field.seconds, field.nanoseconds = nanoseconds // 10**9 & 0x7FFFFFFF, nanoseconds % 10**9
            raw.dev, raw.ino = self.stat.st_dev & 0xFFFFFFFF, self.stat.st_ino & 0xFFFFFFFF
            raw.uid, raw.gid = self.stat.st_uid, self.stat.st_gid
            raw.file_size = self.stat.st_size & 0xFFFFFFFF
        return raw, keep


class Index:
    """`.git/index`, brought along behind the commits: only the changed entries, the file written now and then."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._git = pygit2.Repository(os.fspath(root / ".git"))
        self._known: Any = None

    @property
    def _index(self) -> Any:
        """Read when it is first asked for: 54 MB at 350,000 paths, for which no start waits."""
        if self._known is None:
            try:
                self._known = self._git.index
            except pygit2.GitError:
                if not self._expand():
                    self._rebuild()
        return self._known

    def update(self, changes: Changes) -> None:
        """Set the changed entries and write the file. Raises Held where git has it locked."""
        with self._writing():
            for path, change in changes.items():
                self._put(path, change)

    def catch_up(self, differences: Iterable[Difference]) -> None:
        """Set the entries that are still as the older of two commits has them (a person may have staged others)."""
        with self._writing():
            for one in differences:
                path = names.disk(one.path)
                there = str(self._index[path].id) if path in self._index else None
                if there == one.old:
                    self._put(one.path, Blob(one.new, one.mode) if one.new is not None else None)

    def changed_files(self) -> list[str]:
        """Tracked files of the work tree that are missing or not as the index has them."""
        found = self._ask("diff", "--diff-filter=MDT", "--no-ext-diff", "--no-relative", "--ignore-submodules")
        if found is not None:
            return found
        self._read()
        kinds = (DeltaStatus.MODIFIED, DeltaStatus.DELETED, DeltaStatus.TYPECHANGE)
        deltas = self._index.diff_to_workdir().deltas
        return [names.text(delta.old_file.path) for delta in deltas if delta.status in kinds]

    def untracked(self) -> list[str]:
        """Files of the work tree that the index has not, and git does not ignore."""
        self._read()
        flags = DiffOption.INCLUDE_UNTRACKED | DiffOption.RECURSE_UNTRACKED_DIRS
        deltas = self._index.diff_to_workdir(flags).deltas
        return [names.text(delta.new_file.path) for delta in deltas if delta.status == DeltaStatus.UNTRACKED]

    def staged(self, commit: str) -> list[str]:
        """Paths that the index has otherwise than a commit, or not at all."""
        found = self._ask("diff-index", "--cached", commit)
        if found is not None:
            return found
        self._read()
        tree = self._git[commit].peel(pygit2.Tree)
        return [names.text(delta.old_file.path) for delta in self._index.diff_to_tree(tree).deltas]

    def _ask(self, command: str, *options: str) -> list[str] | None:
        """The paths that a diff of git names; None where git is not installed, or fails (a broken index).

        The program, not the library: over 350,000 files it takes 1 s of CPU for 10 s, and 450 MB that the library
        would keep go with it.
        """
        words = ("--no-optional-locks", command, "--name-only", "--no-renames", "--no-ext-diff", "-z", *options, "--")
        found = _asked(self._root, *words)
        return None if found is None else [names.text(path) for path in found.split(b"\0") if path]

    def _expand(self) -> bool:
        """Have git write a sparse index whole, which libgit2 cannot read; return whether there is one that it can."""
        words = ("-c", "index.sparse=false", "update-index", "--force-write-index")
        if _is_sparse(self._root) and _asked(self._root, *words) is not None:
            with contextlib.suppress(pygit2.GitError):
                self._git = pygit2.Repository(os.fspath(self._root / ".git"))
                self._known = self._git.index
                return True
        return False

    def distrust(self) -> None:
        """After an outage: files that were written shortly before it are compared by content, once, since one that was
        lost may have the size and time that the index knows."""
        self._read()
        times = {}
        for entry in self._index:
            with contextlib.suppress(OSError):
                times[entry.path] = (self._root / entry.path).lstat().st_mtime
        recent = max(times.values(), default=0.0) - _WRITTEN_BACK
        with self._writing():
            for path, time in times.items():
                entry = self._index[path]
                content = files.there(self._root, names.text(path)) if time >= recent else None
                if content is not None and files.blob_id(content) != str(entry.id):
                    self._put(names.text(path), Blob(str(entry.id), int(entry.mode)))  # without a stat: it is looked at

    def entries(self) -> list[tuple[str, str]]:
        """`(path, blob id)` of all files."""
        self._read()
        return [(names.text(entry.path), str(entry.id)) for entry in self._index]

    def trees(self) -> None:
        """Write the trees that the index stands for (those that git pruned come back so)."""
        self._read()
        with contextlib.suppress(pygit2.GitError, KeyError):  # of what is unmerged or missing too, nothing can be made
            fresh = pygit2.Index()  # the one that is read remembers which trees it has written
            for entry in self._index:
                fresh.add(entry)
            fresh.write_tree(self._git)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if (self._root / ".git" / "index.lock").exists():
            raise Held("The index is locked.")
        try:
            with lock.noted(self._root, "index.lock"):
                read = stamp(self._root / ".git" / "index")
                self._read()
                yield
                # libgit2 takes the lock only to write: what a person has staged since it read would be lost.
                if stamp(self._root / ".git" / "index") not in (read, None):  # none: it was damaged, and is put aside
                    raise Held("The index was changed meanwhile.")
                self._index.write()
        except (pygit2.GitError, OSError) as error:
            raise Held(f"The index cannot be written: {error}") from error

    def _read(self) -> None:
        try:
            self._index.read(False)
        except pygit2.GitError:
            if not self._expand():
                self._rebuild()

    def _rebuild(self) -> None:
        """Put a damaged index aside and make it from the branch: only what a person had staged is lost with it."""
        with contextlib.suppress(FileNotFoundError):
            (self._root / ".git" / "index").replace(lock.private(self._root) / "index.damaged")
        self._git = pygit2.Repository(os.fspath(self._root / ".git"))
        self._known = self._git.index
        head = self._git.references.get(BRANCH)
        if head is not None:
            self._known.read_tree(head.peel(pygit2.Commit).tree)

    def _put(self, path: str, change: Blob | None) -> None:
        path = names.disk(path)
        if change is not None:
            entry = _Entry(path, pygit2.Oid(hex=change.id), FileMode(change.mode))
            entry.stat = change.stat
            self._index.add(entry)
        elif path in self._index:
            self._index.remove(path)


def _asked(root: Path, *words: str) -> bytes | None:
    """Return what a git in the root prints; None where it is not installed, or fails."""
    try:
        done = git.run(root, words)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def left_out(root: Path, paths: Iterable[str]) -> list[str]:
    """Return which of these files git was told to leave out of the work tree, or to leave alone there.

    That is what a sparse checkout marks (skip-worktree), and `update-index --assume-unchanged`. A file that is missing
    so was removed by nobody, and one that differs is not to be committed.
    """
    found: list[str] = []
    rest = list(paths)
    while rest:
        part, rest = rest[:_ARGUMENTS], rest[_ARGUMENTS:]
        said = _asked(root, "--no-optional-locks", "--literal-pathspecs", "ls-files", "-v", "-z", "--", *part)
        for line in (said or b"").split(b"\0"):
            mark, path = line[:1], names.text(line[2:])
            if path in part and (mark == b"S" or mark.islower()):
                found.append(path)
    return found


def _is_sparse(root: Path) -> bool:
    """Return whether `.git/index` has folders instead of their files (the extension `sdir`)."""
    try:
        return b"sdir\0\0\0\0" in (root / ".git" / "index").read_bytes()
    except OSError:
        return False


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file or folder is replaced or written; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
