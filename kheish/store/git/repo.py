"""The objects of a state root's git repository, through pygit2. Only this module, `refs` and `staging` import pygit2.

Blobs and trees are written along the changed paths only (TreeBuilder), so a commit costs the same at 1,000 and at
100,000 sessions. Everything here blocks: it runs in the git worker, or in `kheish init`.
"""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import DeltaStatus, FileMode, ObjectType, Option, SortMode

from kheish.errors import Invalid, NotFound, StoreFailed
from kheish.store import files, names
from kheish.store.git.hold import BRANCH
from kheish.store.git.refs import DAEMON, Refs, signature
from kheish.store.log import outage

#: cached trees: those of a day or two, and of the active sessions; more would waste memory
_TREE_CACHE_BYTES = 16 * 1024 * 1024
_FSYNC_THREADS = 8
#: bytes read at once from objects that others may have pushed: a file; a tag with its message
_MOST_BLOB, _MOST_TAG = 256 * 1024**2, 1024**2

pygit2.option(Option.SET_CACHE_OBJECT_LIMIT, ObjectType.TREE, 2 * 1024 * 1024)
pygit2.option(Option.SET_CACHE_MAX_SIZE, _TREE_CACHE_BYTES)


#: the errors of an object that cannot be read or made
Broken = pygit2.GitError


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in a tree. `stat` is that of the work tree's file if its whole content is this blob, else None."""

    id: str
    mode: int = FileMode.BLOB
    stat: os.stat_result | None = None


#: path → its new content; None deletes the path
Changes = Mapping[str, Blob | None]


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that differs between two trees; ids are of blobs, None if the path is missing in that tree."""

    path: str
    old: str | None
    new: str | None
    mode: int


class Repo:
    """An open repository: its objects, and `refs`. Ids are hexadecimal strings."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._git = pygit2.Repository(os.fspath(root / ".git"))
        self.refs = Refs(root, self._git)
        self._fresh: set[str] = set()

    def reopen(self) -> None:
        """Reload packs and refs after another git has packed or pruned."""
        self._git = pygit2.Repository(os.fspath(self.root / ".git"))
        self.refs = Refs(self.root, self._git)

    def blob(self, data: bytes) -> str:
        """Store `data` as a blob; return its id."""
        return self._new(self._git.create_blob(data))

    def tree_of(self, commit: str | None) -> str | None:
        """Return the tree of a commit."""
        return str(self._commit(commit).tree.id) if commit is not None else None

    def write_tree(self, base: str | None, changes: Changes) -> str:
        """Write `base` with `changes` as a new tree; return its id."""
        nested: dict[str, Any] = {}
        for path, change in changes.items():
            *folders, name = names.disk(path).split("/")
            place = nested
            for folder in folders:
                place = place.setdefault(folder, {})
                if not isinstance(place, dict):
                    raise ValueError(f"{path}: {folder} is both a file and a folder")
            place[name] = change
        tree = self._git[base] if base is not None else None
        return self._grow(tree, nested) or self._new(self._git.TreeBuilder().write())

    def _grow(self, tree: Any, changes: dict[str, Any]) -> str | None:
        """Return the tree with the nested changes; None if it becomes empty."""
        if not all(name.isprintable() or names.text(name) == name for name in changes):
            return self._grow_raw(tree, changes)
        builder = self._git.TreeBuilder(tree) if tree is not None else self._git.TreeBuilder()
        for name, change in changes.items():
            mode, oid = FileMode.TREE, None
            if isinstance(change, dict):
                there = builder.get(name)
                oid = self._grow(there if there is not None and there.type_str == "tree" else None, change)
            elif change is not None:
                mode, oid = change.mode, change.id
            if oid is not None:
                builder.insert(name, pygit2.Oid(hex=oid), mode)
            elif builder.get(name) is not None:
                builder.remove(name)
        return self._new(builder.write()) if len(builder) else None

    def _grow_raw(self, tree: Any, changes: dict[str, Any]) -> str | None:
        """Do the same for a name that is not UTF-8, which libgit2's builder does not accept from Python."""
        entries = {entry.raw_name: (int(entry.filemode), str(entry.id)) for entry in tree or ()}
        for name, change in changes.items():
            raw = os.fsencode(name)
            mode, there = entries.pop(raw, (0, ""))
            if isinstance(change, dict):
                oid = self._grow(self._git[there] if mode == FileMode.TREE else None, change)
                mode = FileMode.TREE
            else:
                mode, oid = (change.mode, change.id) if change is not None else (0, None)
            if oid is not None:
                entries[raw] = (mode, oid)
        # git sorts a folder as if its name ended with a slash
        order = sorted(entries, key=lambda raw: raw + b"/" if entries[raw][0] == FileMode.TREE else raw)
        body = b"".join(b"%o %s\0" % (entries[raw][0], raw) + bytes.fromhex(entries[raw][1]) for raw in order)
        return self._new(self._git.write(ObjectType.TREE, body)) if entries else None

    def commit(self, tree: str, parents: list[str], message: str, *, author: tuple[str, str] = DAEMON) -> str:
        """Write a commit object without moving a ref; return its id. `author` is name and address (default: the
        daemon)."""
        return self._new(self._git.create_commit(None, signature(author), signature(DAEMON), message, tree, parents))

    def person(self) -> tuple[str, str]:
        """Return git's own identity, or the login name if none is set."""
        try:
            identity = self._git.default_signature
            return identity.name, identity.email
        except KeyError:
            login = getpass.getuser()
            return login, f"{login}@localhost"

    def _new(self, oid: pygit2.Oid) -> str:
        self._fresh.add(str(oid))
        return str(oid)

    def sync(self) -> None:
        """Make the new objects durable, in threads: a disk does many fsyncs as fast as one. Raises StoreFailed."""
        objects = self.root / ".git" / "objects"
        paths = [objects / oid[:2] / oid[2:] for oid in self._fresh]
        loose = [path for path in paths if path.exists()]  # a user's git has packed the others

        def fsynced(path: Path) -> None:
            with contextlib.suppress(FileNotFoundError):  # packed at this moment
                (files.fsync_folder if path.is_dir() else files.fsync_file)(path)

        try:
            with ThreadPoolExecutor(_FSYNC_THREADS) as pool:
                list(pool.map(fsynced, loose))
                list(pool.map(fsynced, {path.parent for path in loose} | {objects}))
        except OSError as error:
            outage.expect(self.root)  # a second fsync would report success
            raise StoreFailed.of("Objects of a commit cannot be made durable", error) from error
        self._fresh.clear()

    def _commit(self, rev: str) -> pygit2.Commit:
        try:
            commit: pygit2.Commit = self._git.revparse_single(rev).peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise NotFound(f"No commit {rev!r} in the state root.") from error
        return commit

    def entry(self, rev: str, path: str) -> Any:
        """Return the pygit2 object at `path` in a commit (the tree itself for an empty path). Raises NotFound."""
        tree = self._commit(rev).tree
        try:
            return tree[names.disk(path)] if path else tree
        except KeyError:
            raise NotFound(f"{path} is not in {rev}.") from None

    def find(self, rev: str, path: str) -> Blob | None:
        """Return the file at `path` in a commit, or None."""
        try:
            item = self._commit(rev).tree[names.disk(path)]
        except KeyError:
            return None
        return Blob(str(item.id), int(item.filemode)) if item.type_str == "blob" else None

    def content(self, blob: str) -> bytes:
        """Return the bytes of a blob. Raises Invalid for a blob that exceeds the limit of all files kept here."""
        if size_of(self, blob) > _MOST_BLOB:
            raise Invalid(f"{blob} is larger than {_MOST_BLOB // 1024**2} MiB.")
        item: Any = self._git[blob]
        data: bytes = item.data
        return data

    def has(self, id: str) -> bool:
        """Return whether an object exists."""
        return pygit2.Oid(hex=id) in self._git.odb

    def listing(self, tree: str) -> list[tuple[str, str, str]]:
        """Return `(name, kind, id)` of the entries of a folder. Raises KeyError if its object is missing."""
        found: Any = self._git[tree]
        return [(names.text(entry.name), entry.type_str, str(entry.id)) for entry in found]

    def differences(self, old: str | None, new: str | None) -> Iterator[Difference]:
        """Yield the paths that differ between two trees; equal folders are not read."""
        if old == new:
            return
        tree: Any = self._git[str(new if old is None else old)]
        other = self._git[new] if old is not None and new is not None else None
        diff = tree.diff_to_tree(other, swap=old is None) if other is not None else tree.diff_to_tree(swap=old is None)
        for delta in diff.deltas:
            gone, made = delta.status == DeltaStatus.DELETED, delta.status == DeltaStatus.ADDED
            side = delta.old_file if gone else delta.new_file
            yield Difference(
                names.text(side.path),
                None if made else str(delta.old_file.id),
                None if gone else str(delta.new_file.id),
                side.mode,
            )

    def walk(self, start: str) -> Iterator[pygit2.Commit]:
        """Yield commits from `start`, newest first. Raises NotFound.

        Parents come by time, as in `git log`: with any of its orders libgit2 would read all of history before the
        first.
        """
        return iter(self._git.walk(self._commit(start).id, SortMode.NONE))

    def files(self, commit: str | None, path: str) -> list[str]:
        """Return the paths of all files in a folder of a commit; the path itself if it is a file; empty if it does not
        exist."""
        try:
            found = self.entry(commit, path) if commit is not None else None
        except NotFound:
            return []
        if found is None or found.type_str == "blob":
            return [] if found is None else [path]
        files, folders = list[str](), [(path, str(found.id))]
        while folders:
            where, tree = folders.pop()
            for name, kind, id in self.listing(tree):
                if kind == "tree":
                    folders.append((f"{where}/{name}", id))
                else:
                    files.append(f"{where}/{name}")
        return files


def size_of(repo: Repo, blob: str) -> int:
    """Return the number of bytes of a blob, without reading it."""
    size: int = repo._git.odb.read_header(pygit2.Oid(hex=blob))[1]
    return size


def beyond(repo: Repo, start: str, *known: str) -> Iterator[pygit2.Commit]:
    """Yield the commits from `start` on that are not ancestors of any of `known`."""
    walker = repo._git.walk(pygit2.Oid(hex=start), SortMode.NONE)
    for commit in known:
        if repo.has(commit):
            walker.hide(pygit2.Oid(hex=commit))
    return iter(walker)


def merge_base(repo: Repo, one: str, other: str) -> str | None:
    """Return the newest common ancestor of two commits; None if their histories share nothing."""
    base = repo._git.merge_base(pygit2.Oid(hex=one), pygit2.Oid(hex=other))
    return str(base) if base is not None else None


def annotated(repo: Repo, id: str) -> tuple[str, str, tuple[str, str], int] | None:
    """Return the commit, the message, the author and the time of a tag object. Return None if it is not a tag object,
    if its commit is missing, or if its message is too long."""
    odb = repo._git.odb
    try:
        kind, size = odb.read_header(pygit2.Oid(hex=id))[:2]
        if kind != ObjectType.TAG or size > _MOST_TAG:
            return None
        tag: Any = repo._git[id]
        commit = tag.target
        if odb.read_header(commit)[0] != ObjectType.COMMIT:
            return None
    except KeyError:
        return None
    tagger = tag.tagger
    author, at = ("", ""), 0
    if tagger is not None:
        author, at = (decoded(tagger.raw_name), decoded(tagger.raw_email)), tagger.time
    return str(commit), decoded(tag.raw_message), author, at


def decoded(raw: bytes | None, encoding: str | None = None) -> str:
    """Return the text of a commit or a tag, whose encoding may be unknown or wrong."""
    try:
        return (raw or b"").decode(encoding or "utf-8", errors="replace")
    except LookupError:
        return (raw or b"").decode(errors="replace")


def blame(repo: Repo, commit: str, path: str) -> list[tuple[int, int, str]]:
    """Return `(first line, lines, commit)` for each part of a file. Raises NotFound."""
    repo.entry(commit, path)
    if not names.is_text(path):
        raise NotFound(f"{path} has a name that is not UTF-8; use git blame itself.")
    hunks = repo._git.blame(path, newest_commit=pygit2.Oid(hex=str(repo._commit(commit).id)))
    return [(hunk.final_start_line_number, hunk.lines_in_hunk, str(hunk.final_commit_id)) for hunk in hunks]


def init(root: Path) -> None:
    """Run `git init` on the daemon's branch; an existing repository stays as it is."""
    pygit2.init_repository(os.fspath(root), initial_head=BRANCH.removeprefix("refs/heads/"))


def configure(root: Path, settings: Mapping[str, str]) -> None:
    """Set values in the repository's own configuration."""
    config = pygit2.Config(os.fspath(root / ".git" / "config"))
    for name, value in settings.items():
        if name not in config or config[name] != value:
            config[name] = value
