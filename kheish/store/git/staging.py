"""The index `.git/index`, updated after the daemon's commits, and a user's changes to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode

from kheish.store import files, lock, names
from kheish.store.git import command as git
from kheish.store.git.hold import BRANCH, Held
from kheish.store.git.repo import Blob, Changes, Difference

#: seconds after which a system has surely written back data without fsync
_WRITTEN_BACK = 600.0
_ARGUMENTS = 500  # paths of a single command
#: seconds for a command of git: comparing 350,000 files takes a second
_PATIENCE = 120.0


class _Entry(pygit2.IndexEntry):
    """An index entry with the file's stat. Without it `git status` would read every file that the daemon wrote."""

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
    """The index `.git/index`, updated after commits: only the changed entries, and the file written now and then."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._git = pygit2.Repository(os.fspath(root / ".git"))
        self._known: Any = None

    @property
    def _index(self) -> Any:
        """The index, read at first use: it takes 54 MB at 350,000 paths, which no start should wait for."""
        if self._known is None:
            try:
                self._known = self._git.index
            except pygit2.GitError:
                if not self._expand():
                    self._rebuild()
        return self._known

    def update(self, changes: Changes) -> None:
        """Set the changed entries and write the file. Raises Held if git has locked it."""
        with self._writing():
            for path, change in changes.items():
                self._put(path, change)

    def catch_up(self, differences: Iterable[Difference]) -> None:
        """Set the entries that still match the older of two commits (a user may have staged others)."""
        with self._writing():
            for one in differences:
                path = names.disk(one.path)
                there = str(self._index[path].id) if path in self._index else None
                if there == one.old:
                    self._put(one.path, Blob(one.new, one.mode) if one.new is not None else None)

    def changed_files(self) -> list[str]:
        """Return tracked files of the work tree that are missing or differ from the index."""
        paths = self._ask("diff", "--diff-filter=MDT", "--no-ext-diff", "--no-relative", "--ignore-submodules")
        if paths is not None:
            return paths
        self._read()
        kinds = (DeltaStatus.MODIFIED, DeltaStatus.DELETED, DeltaStatus.TYPECHANGE)
        deltas = self._index.diff_to_workdir().deltas
        return [names.text(delta.old_file.path) for delta in deltas if delta.status in kinds]

    def untracked(self) -> list[str]:
        """Return files of the work tree that are not in the index and not ignored by git."""
        self._read()
        flags = DiffOption.INCLUDE_UNTRACKED | DiffOption.RECURSE_UNTRACKED_DIRS
        deltas = self._index.diff_to_workdir(flags).deltas
        return [names.text(delta.new_file.path) for delta in deltas if delta.status == DeltaStatus.UNTRACKED]

    def staged(self, commit: str) -> list[str]:
        """Return the paths that differ between the index and a commit, or are missing in the index."""
        paths = self._ask("diff-index", "--cached", commit)
        if paths is not None:
            return paths
        self._read()
        tree = self._git[commit].peel(pygit2.Tree)
        return [names.text(delta.old_file.path) for delta in self._index.diff_to_tree(tree).deltas]

    def _ask(self, command: str, *options: str) -> list[str] | None:
        """Return the paths that a diff of git names; None if git is not installed, or fails (a broken index).

        This runs the program, not the library: over 350,000 files it takes 1 s of CPU instead of 10 s, and frees 450 MB
        that the library would keep.
        """
        words = ("--no-optional-locks", command, "--name-only", "--no-renames", "--no-ext-diff", "-z", *options, "--")
        output = _read_output(self._root, *words)
        return None if output is None else [names.text(path) for path in output.split(b"\0") if path]

    def _expand(self) -> bool:
        """Expand a sparse index with git, since libgit2 cannot read it; return whether libgit2 can read the index
        now."""
        words = ("-c", "index.sparse=false", "update-index", "--force-write-index")
        if _is_sparse(self._root) and _read_output(self._root, *words) is not None:
            with contextlib.suppress(pygit2.GitError):
                self._git = pygit2.Repository(os.fspath(self._root / ".git"))
                self._known = self._git.index
                return True
        return False

    def distrust(self) -> None:
        """Mark files that were written shortly before an outage, to be compared by content once.

        A lost file may still have the size and time recorded in the index.
        """
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
                    # without a stat, so that git compares its content
                    self._put(names.text(path), Blob(str(entry.id), int(entry.mode)))

    def entries(self) -> list[tuple[str, str]]:
        """Return `(path, blob id)` of all files."""
        self._read()
        return [(names.text(entry.path), str(entry.id)) for entry in self._index]

    def trees(self) -> None:
        """Write the trees that the index stands for, which restores pruned trees."""
        self._read()
        with contextlib.suppress(pygit2.GitError, KeyError):  # unmerged or missing paths cannot form a tree
            fresh = pygit2.Index()  # the loaded index remembers which trees it has written
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
                # libgit2 takes the lock only to write: files that a user has staged since it read would be lost.
                if stamp(self._root / ".git" / "index") not in (read, None):  # None: it was damaged, and is set aside
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
        """Set a damaged index aside and rebuild it from the branch: only a user's staged changes are lost with it."""
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


def _read_output(root: Path, *words: str) -> bytes | None:
    """Return the output of a git in the root; None if git is not installed, or fails. Raises Held if it does not end:
    it waits for a pipe."""
    try:
        done = git.run(root, words, timeout=_PATIENCE)
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        name = words[1] if words[0].startswith("--") else words[0]
        raise Held(
            f"git {name} did not end in {_PATIENCE:.0f} s. If a .gitattributes or .gitignore below the root is a pipe, "
            "remove it: find . -name '.git?*' -type p"
        ) from None
    return done.stdout if done.returncode == 0 else None


def left_out(root: Path, paths: Iterable[str]) -> list[str]:
    """Return those of the files that git must leave out of the work tree, or ignore there.

    A sparse checkout marks such files (skip-worktree), as does `update-index --assume-unchanged`. If such a file is
    missing, no user removed it; if it differs, it must not be committed.
    """
    matches: list[str] = []
    rest = list(paths)
    while rest:
        part, rest = rest[:_ARGUMENTS], rest[_ARGUMENTS:]
        said = _read_output(root, "--no-optional-locks", "--literal-pathspecs", "ls-files", "-v", "-z", "--", *part)
        for line in (said or b"").split(b"\0"):
            mark, path = line[:1], names.text(line[2:])
            if path in part and (mark == b"S" or mark.islower()):
                matches.append(path)
    return matches


def _is_sparse(root: Path) -> bool:
    """Return whether `.git/index` has folders in place of their files (the extension `sdir`)."""
    try:
        return b"sdir\0\0\0\0" in (root / ".git" / "index").read_bytes()
    except OSError:
        return False


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Return a value that changes when a file or folder is replaced or written; None if it does not exist."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
