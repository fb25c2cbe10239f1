"""The search for skills in folders that anybody may have written: bounded in depth, folders and names.

A folder with a SKILL.md is a skill, and is not searched further: the number of files in it costs nothing.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from kheish.beneath import Door, files, names, pool
from kheish.beneath.door import Root, opened
from kheish.domain.skills import reading
from kheish.domain.skills.skill import BODY_BYTES, FILE, Skill, is_name
from kheish.errors import NotBeneath
from kheish.runtime.project.folders import Folders
from kheish.store.edits.problems import Problem
from kheish.store.files import blob_id

#: the places of skills in a folder of a workspace, in the order of precedence
PLACES = (".agents/skills", ".claude/skills", ".github/skills", "skills")
DEPTH = 6
FOLDERS = 2000
ENTRIES = 20_000
#: what is read of a SKILL.md: more than its parser uses
_BYTES = 4 * BODY_BYTES
_SPELLINGS = (FILE, "skill.md")
_SKIPPED = frozenset({"node_modules", "__pycache__"})
#: a file that changed this shortly before it was read may change again without another time
_RACY = 0.1
_KNOWN = 64  # workspaces and folders

Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A `SKILL.md` as it was read. `skill` is without its text; it is None if the file is no skill."""

    path: str  # of the skill's folder, from the door
    via: str  # the path that led there, which has the skill's name: `path`, or a link to it
    file: str  # the name in it
    skill: Skill | None
    digest: str
    etag: str
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class Scan:
    """The skills in a place, in the order of their precedence, and the bounds that were reached."""

    door: Door
    seen: list[Seen] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    shown: Mapping[str, str] = field(default_factory=dict)  # the folders of skills as the model sees them


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a search, and the paths that it depends on with their signatures (None: missing)."""

    starts: tuple[str, ...]
    seen: tuple[Seen, ...]
    problems: tuple[Problem, ...]
    watched: Mapping[str, Signature | None]

    def is_current(self, starts: tuple[str, ...]) -> bool:
        """Return whether nothing that it depends on has changed. Blocks on disk."""
        return self.starts == starts and all(_signature(path) == known for path, known in self.watched.items())


@dataclass(slots=True)
class _Budget:
    folders: int = FOLDERS
    entries: int = ENTRIES

    @property
    def is_spent(self) -> bool:
        return self.folders <= 0 or self.entries <= 0


Known = dict[str, tuple[Signature, Seen]]


class Cache:
    """The last search of each place with the files that it read. A place is searched again if a folder or file changed,
    and then an unchanged file is not parsed again. For any thread."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, tuple[Known, Result | None]] = OrderedDict()

    def files(self, place: str) -> Known:
        """Return the known files of a place."""
        return self._places.get(place, ({}, None))[0]

    def result(self, place: str) -> Result | None:
        """Return the last search of a place; None if it cannot be used again."""
        return self._places.get(place, ({}, None))[1]

    def put(self, place: str, known: Known, result: Result | None) -> None:
        """Replace what is known of a place, and forget the place that was not used for longest."""
        self._places[place] = known, result
        with suppress(KeyError):
            self._places.move_to_end(place)
            while len(self._places) > _KNOWN:
                self._places.popitem(last=False)


def workspace(folders: Folders, cache: Cache) -> Scan:
    """Return the skills of a workspace: the folders from there upwards, each with its places. Blocks on disk."""
    scan, budget = Scan(folders.door), _Budget()
    starts = [place if folder == "." else f"{folder}/{place}" for folder in reversed(folders.paths) for place in PLACES]
    _scan(scan, starts, budget, cache, str(folders.door.path))
    scan.shown = {one.via: folders.shown(one.via) for one in scan.seen}
    return scan


def folder(door: Door, cache: Cache) -> Scan:
    """Return the skills of a configured folder. Blocks on disk. Raises NotBeneath, NotThere for a missing one."""
    scan = Scan(door)
    with opened(door):
        pass
    _scan(scan, ["."], _Budget(), cache, f"{door.path}/")
    scan.shown = {one.via: str(door.path / one.via) for one in scan.seen}
    return scan


def _scan(scan: Scan, starts: list[str], budget: _Budget, cache: Cache, key: str) -> None:
    last = cache.result(key)
    if last is not None and last.is_current(tuple(starts)):
        scan.seen, scan.problems = list(last.seen), list(last.problems)
        return
    known, fresh, began = cache.files(key), Known(), time.time()
    met: set[tuple[str, str]] = set()
    watched: dict[str, Signature | None] = {}
    with suppress(NotBeneath), opened(scan.door) as root:
        for start in starts:
            for path, via, name in _folders(root, start, budget, met, watched):
                watched[_place(root, f"{via}/{name}")] = _signature(_place(root, f"{via}/{name}"))
                _look(scan, root, path, via, name, known, fresh)
            if budget.is_spent:
                message = f"more than {FOLDERS} folders or {ENTRIES} names: the rest is not searched for skills"
                scan.problems.append(Problem(start, None, None, "warning", "too_many", message))
                break
    newest = max((signature[4] for signature in watched.values() if signature is not None), default=0)
    is_settled = newest / 1e9 < began - _RACY
    result = Result(tuple(starts), tuple(scan.seen), tuple(scan.problems), watched) if is_settled else None
    cache.put(key, fresh, result)


def _place(root: Root, path: str) -> str:
    """Return a path on disk; its signature only shows whether something changed, so links are followed."""
    return os.fspath(root.door.path / names.meant(path))


def _signature(path: str) -> Signature | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - there are thousands
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _folders(
    root: Root, start: str, budget: _Budget, met: set[tuple[str, str]], watched: dict[str, Signature | None]
) -> Iterator[tuple[str, str, str]]:
    """Yield the folders of skills below a folder, nearest first, with the path that led there and the name of their
    file; each once by a name, whatever links lead there. `watched` gets the folders that were searched, are missing or
    cannot be opened."""
    waiting = deque([(start, 0)])
    while waiting and not budget.is_spent:
        pool.check()
        path, depth = waiting.popleft()
        place = _place(root, path)
        if (signature := _signature(place)) is None:
            watched[place] = None
            continue
        try:
            with files.open_folder(root, path) as (descriptor, real):
                name = _file_in(descriptor) if depth else None
                key = (real, path.rpartition("/")[2] if name is not None else "")
                if key in met:
                    continue
                met.add(key)
                budget.folders -= 1
                if name is not None:
                    yield real, path, name
                    continue
                watched[place] = signature
                if depth < DEPTH:
                    waiting += [
                        (f"{real}/{one}" if real != "." else one, depth + 1) for one in _inner(descriptor, budget)
                    ]
        except (NotBeneath, OSError):  # a link may lead elsewhere later
            watched[place] = signature


def _file_in(folder: int) -> str | None:
    for name in _SPELLINGS:
        with suppress(OSError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            return name
    return None


def _inner(folder: int, budget: _Budget) -> list[str]:
    """Return the folders (and links, which may lead to one) in a folder, as paths are written."""
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in islice(entries, max(0, budget.entries)):
            budget.entries -= 1
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_symlink() or entry.is_dir(follow_symlinks=False):
                inner.append(names.as_path(entry.name))
    return sorted(inner, key=lambda one: (not is_name(one), one))  # `good` comes before `Good`


def _look(scan: Scan, root: Root, path: str, via: str, name: str, known: Known, fresh: Known) -> None:
    file = f"{via}/{name}"
    try:
        with files.open_file(root, f"{path}/{name}") as (handle, _):
            status = os.fstat(handle.fileno())
            signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            before = known.get(file)
            if before is not None and before[0] == signature and before[1].path == path:
                fresh[file] = before
                scan.seen.append(before[1])
                return
            raw = handle.read(_BYTES)
    except (NotBeneath, OSError) as error:
        reason = error.detail if isinstance(error, NotBeneath) else str(error.strerror)
        scan.problems.append(Problem(file, None, None, "warning", "unreadable", f"it is not read: {reason}"))
        return
    seen = look(file, raw, path)
    scan.seen.append(seen)
    if status.st_ctime_ns / 1e9 < time.time() - _RACY:
        fresh[file] = signature, seen


def look(file: str, raw: bytes, path: str) -> Seen:
    """Return a file as a skill, without its text. `path` is that of its folder."""
    parsed = reading.parse(raw, file)
    skill = parsed.value.model_copy(update={"body": ""}) if parsed.value is not None else None
    return Seen(
        path=path,
        via=file.rpartition("/")[0],
        file=file.rpartition("/")[2],
        skill=skill,
        digest=parsed.digest,
        etag=blob_id(raw),
        problems=tuple(parsed.problems),
    )
