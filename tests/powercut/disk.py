"""A disk as a power cut leaves it: what was fsynced is there; of the rest, whatever the rules allow.

A file's content is durable once the file was fsynced; a name once its folder was. What was not may be there or not: the
writes of each file by themselves, as far as a beginning of them goes, the last one torn at any byte; and names either

- `ordered`, as a file system with one journal has them: all changes of names up to one of them (and whatever was
  made durable later makes all before it durable too), or
- `loose`, as POSIX allows: each folder up to a change of its own; what is in a folder that is not there, is not there.

With `zeros`, a file may hold zeros where what was written was lost: at its end, since it has got its length already, or
before later writes that are there.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Op = Mapping[str, Any]
#: commands of git that the daemon runs and that write nothing (`--no-optional-locks`)
_READS = frozenset(("diff", "diff-index", "ls-files", "cat-file", "--get"))


@dataclass(eq=False)
class Node:
    """An inode: a folder with its names, or a file with what was written to it, oldest first."""

    is_folder: bool = False
    names: dict[str, Node] = field(default_factory=dict)  # as a running system sees it
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)  # (at, data), or (length, None): truncated
    synced: int = 0  # of the writes
    mode: int = 0o644
    kept: dict[str, Node] = field(default_factory=dict)  # of a folder: what it began with


@dataclass(eq=False)
class Change:
    """A change of names: `node` gets `name` in `folder` (None: the name goes), and loses its `old` place."""

    folder: Node
    name: str
    node: Node | None
    old: tuple[Node, str] | None = None
    durable: bool = False


class Disk:
    """Plays operations, as `storeshim` records them, onto a folder of which all was durable."""

    def __init__(self, base: Path) -> None:
        self._root = _load(base)
        self._changes: list[Change] = []

    def play(self, ops: Iterable[Op]) -> None:
        """Have them happen."""
        for op in ops:
            getattr(self, f"_{op['op']}")(op)

    # --- what happens -------------------------------------------------------------------------------------------------

    def _at(self, path: str) -> tuple[Node, str, Node | None]:
        *folders, name = path.split("/")
        node = self._root
        for folder in folders:
            node = node.names[folder]
        return node, name, node.names.get(name)

    def _change(self, path: str, node: Node | None, old: tuple[Node, str] | None = None) -> None:
        folder, name, _ = self._at(path)
        if old is not None:
            old[0].names.pop(old[1], None)
        if node is None:
            folder.names.pop(name, None)
        else:
            folder.names[name] = node
        self._changes.append(Change(folder, name, node, old))

    def _create(self, op: Op) -> None:
        _, _, there = self._at(op["path"])
        if there is None:
            self._change(op["path"], Node(mode=op.get("mode", 0o666) & 0o755))
        else:
            there.writes.append((0, None))  # it was emptied

    def _write(self, op: Op) -> None:
        _, _, node = self._at(op["path"])
        assert node is not None, op["path"]
        node.writes.append((op["at"], base64.b64decode(op["data"])))

    def _truncate(self, op: Op) -> None:
        _, _, node = self._at(op["path"])
        assert node is not None, op["path"]
        node.writes.append((op["at"], None))

    def _fsync(self, op: Op) -> None:
        _, _, node = self._at(op["path"])
        assert node is not None, op["path"]
        node.synced = len(node.writes)

    def _syncdir(self, op: Op) -> None:
        folder = self._root if op["path"] == "." else self._at(op["path"])[2]
        for change in self._changes:
            if change.folder is folder:
                change.durable = True

    def _mkdir(self, op: Op) -> None:
        self._change(op["path"], Node(is_folder=True))

    def _rename(self, op: Op) -> None:
        folder, name, node = self._at(op["old"])
        self._change(op["path"], node, (folder, name))

    def _exchange(self, op: Op) -> None:
        """Two names are exchanged in one step. Between the two changes here both lead to the new file, so that a cut
        there leaves the name that matters as after the step, and the other one is a scratch file."""
        new, old = self._at(op["old"])[2], self._at(op["path"])[2]
        self._change(op["path"], new)
        self._change(op["old"], old)

    def _link(self, op: Op) -> None:
        self._change(op["path"], self._at(op["old"])[2])

    def _unlink(self, op: Op) -> None:
        self._change(op["path"], None)

    _rmdir = _unlink

    # --- through pygit2 -----------------------------------------------------------------------------------------------

    def _object(self, op: Op) -> None:
        """A loose object: written elsewhere and renamed, nothing of it fsynced."""
        if op["data"] is None:
            return
        if self._at(op["at"])[2] is None:
            self._change(op["at"], Node(writes=[(0, base64.b64decode(op["data"]))], mode=0o444))

    def _blob(self, op: Op) -> None:
        folder = op["at"].rpartition("/")[0]
        if self._at(folder)[2] is None:
            self._change(folder, Node(is_folder=True))
        self._object(op)

    _tree = _commit = _blob

    def _reflock(self, op: Op) -> None:
        self._folders(f".git/{op['path']}")
        self._change(f".git/{op['path']}.lock", Node())

    def _ref(self, op: Op) -> None:
        """Each reference is written, fsynced, and renamed from its lock; its folder is fsynced. Its log is not."""
        for path, data in op["files"].items():
            if data is None:
                continue
            content = base64.b64decode(data)
            self._folders(path)
            if path.startswith(".git/logs/"):
                if self._at(path)[2] is None:
                    self._change(path, Node())
                there = self._at(path)[2]
                assert there is not None
                had = len(_content(there, None))
                there.writes.append((had, content[had:]))
                continue
            folder, name, _ = self._at(f"{path}.lock")
            self._change(path, Node(writes=[(0, content)], synced=1), (folder, name))
            self._syncdir({"path": path.rpartition("/")[0]})

    def _folders(self, path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if self._at(folder)[2] is None:
                self._change(folder, Node(is_folder=True))

    def _git(self, op: Op) -> None:
        """A git that was run: none may write, since what it wrote is not in the record."""
        assert _READS & set(op["path"].split()), f"git {op['path']}: what it writes is not recorded"

    def _index(self, op: Op) -> None:
        self._change(op["path"], Node(writes=[(0, base64.b64decode(op["data"]))]))

    # --- what is left -------------------------------------------------------------------------------------------------

    def cut(self, target: Path, rng: random.Random, *, names: str, zeros: bool = False) -> None:
        """Write one of the states that a power cut may leave now to `target`."""
        kept = self._ordered(rng) if names == "ordered" else self._loose(rng)
        folders: dict[Node, dict[str, Node]] = {}

        def of(node: Node) -> dict[str, Node]:
            return folders.setdefault(node, dict(node.kept))

        for change in self._changes:
            if change in kept:
                if change.old is not None and of(change.old[0]).get(change.old[1]) is not None:
                    del of(change.old[0])[change.old[1]]
                if change.node is None:
                    of(change.folder).pop(change.name, None)
                else:
                    of(change.folder)[change.name] = change.node
        _store(self._root, target, of, rng, zeros)

    def _ordered(self, rng: random.Random) -> set[Change]:
        forced = max((place + 1 for place, change in enumerate(self._changes) if change.durable), default=0)
        return set(self._changes[: rng.randint(forced, len(self._changes))])

    def _loose(self, rng: random.Random) -> set[Change]:
        by_folder: dict[Node, list[Change]] = {}
        for change in self._changes:
            by_folder.setdefault(change.folder, []).append(change)
        kept: set[Change] = set()
        for changes in by_folder.values():
            forced = sum(change.durable for change in changes)
            kept |= set(changes[: rng.choice((forced, len(changes), rng.randint(forced, len(changes))))])
        return kept


def _load(path: Path) -> Node:
    if not path.is_dir():
        return Node(writes=[(0, path.read_bytes())], synced=1, mode=path.stat().st_mode & 0o777)
    names = {entry.name: _load(entry) for entry in path.iterdir()}
    return Node(is_folder=True, names=names, kept=dict(names))


def _content(node: Node, count: int | None) -> bytearray:
    """What the first `count` writes (None: all) make."""
    found = bytearray()
    for at, data in node.writes[:count]:
        if data is None:
            del found[at:]
            found.extend(bytes(at - len(found)))
        else:
            found.extend(bytes(at - len(found)))
            found[at : at + len(data)] = data
    return found


def _survives(node: Node, rng: random.Random, zeros: bool) -> bytes:
    """What of a file's content a power cut leaves."""
    count = len(node.writes)
    kept = rng.choice((node.synced, count, rng.randint(node.synced, count)))
    content = _content(node, kept)
    if kept < count and (last := node.writes[kept])[1] is not None and rng.random() < 0.5:
        torn = Node(writes=[*node.writes[:kept], (last[0], last[1][: rng.randint(0, len(last[1]))])])
        content = _content(torn, None)
    if zeros and kept < count and rng.random() < 0.3:
        content.extend(bytes(max(0, len(_content(node, None)) - len(content))))
    if zeros and kept > node.synced and rng.random() < 0.2:
        _hole(content, rng.choice(node.writes[node.synced : kept]), rng)
    return bytes(content)


def _hole(content: bytearray, write: tuple[int, bytes | None], rng: random.Random) -> None:
    """A part of a write is missing, though later ones are there: pages are written back in any order."""
    at, data = write
    if data:
        begin = at + rng.randrange(len(data))
        end = min(begin + rng.randint(1, len(data)), at + len(data), len(content))
        content[begin:end] = bytes(max(0, end - begin))


def _store(node: Node, target: Path, of: Any, rng: random.Random, zeros: bool) -> None:
    target.mkdir()
    for name, child in of(node).items():
        if child.is_folder:
            _store(child, target / name, of, rng, zeros)
        else:
            path = target / name
            path.write_bytes(_survives(child, rng, zeros))
            path.chmod(child.mode | 0o400)
