"""The return of a result: what a worker changed is written into the workspace here, file by file, through the door.

A file is changed only if it is as the snapshot had it; one that has the result already counts as done, so that a repeat
after a kill is the same. What was changed on both sides stays as it is here, and is reported: the result is a commit in
the depot, from which it can be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from kheish.beneath import Door, entries, names
from kheish.beneath.entries import LINK
from kheish.errors import NotBeneath, NotThere
from kheish.runtime.workers.depot import REPOSITORY, Change, Depot

_AT_ONCE = 32 * 1024 * 1024  # bytes of files in memory


@dataclass(slots=True)
class Returned:
    """The changed files: those written, those that had changed here as well, and those refused, with the reason."""

    written: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def apply(depot: Depot, where: Door, base: str, commit: str) -> Returned:
    """Write the changes between two commits of a depot into a workspace. Blocks. Raises KheishError, Invalid."""
    done, changes = Returned(), depot.changes(base, commit)
    for change in _due(done, where, [one for one in changes if one.mode is None]):  # a folder may take a file's place
        _act(done, change, entries.remove, where, change.path)
    due = list(_due(done, where, [one for one in changes if one.mode is not None]))
    for change, content in _contents(depot, due):
        if change.mode == LINK:
            target = content.decode("utf-8", "surrogateescape")
            _act(done, change, entries.link, where, change.path, target, key=commit)
        else:
            _act(done, change, entries.write, where, change.path, content, mode=change.mode, key=commit)
    return done


def _due(done: Returned, where: Door, changes: Sequence[Change]) -> Iterator[Change]:
    """Yield the changes of files that are as the snapshot had them; report the others, unless they are done."""
    for change in changes:
        if REPOSITORY in (change.mode, change.mode or change.old_mode):
            done.refused[names.shown(change.path)] = "is a repository of its own, which is not carried"
            continue
        now = entries.current(where, change.path)
        if now == _side(change.old_mode, change.old):
            yield change
        elif now != _side(change.mode, change.blob):
            done.conflicts.append(names.shown(change.path))


def _side(mode: str | None, blob: str | None) -> tuple[str, str] | None:
    return (mode, blob) if mode is not None and blob is not None else None


def _act(done: Returned, change: Change, verb: Callable[..., object], *arguments: object, **named: object) -> None:
    try:
        verb(*arguments, **named)
    except (NotBeneath, NotThere) as error:
        done.refused[names.shown(change.path)] = error.detail
    else:
        done.written.append(names.shown(change.path))


def _contents(depot: Depot, changes: Sequence[Change]) -> Iterator[tuple[Change, bytes]]:
    """Yield each change with its content, a bounded amount of which is in memory."""
    sizes = {blob: size for blob, _, size in depot.sizes([one.blob for one in changes if one.blob is not None])}
    batch, total = list[Change](), 0
    for change in changes:
        assert change.blob is not None
        batch.append(change)
        total += sizes[change.blob]
        if total > _AT_ONCE:
            yield from _read(depot, batch)
            batch, total = [], 0
    yield from _read(depot, batch)


def _read(depot: Depot, batch: Sequence[Change]) -> Iterator[tuple[Change, bytes]]:
    if batch:
        found = depot.blobs([one.blob for one in batch if one.blob is not None])
        yield from ((one, found[one.blob or ""]) for one in batch)
