"""Files of a workspace that a session's tools changed, from its journal (`net_diffs.py` computes the net changes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kheish.beneath import pool
from kheish.state.state import State
from kheish.store.log import index

TOOLS = frozenset({"write_file", "edit_file", "apply_patch"})
_KINDS = ("tool.started", "tool.finished")
#: the newest entries of tool calls that are read; and how many at once
MOST_ENTRIES, _BATCH = 100_000, 500
#: edits that one page reads; a page with more ends early
MOST_EDITS = 1000
#: an entry, and the index of its file
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file by one tool call; digests are None if the file does not exist."""

    place: Place
    at: str
    run_id: str
    workspace: str
    path: str
    before: str | None
    after: str | None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A file and its edits, oldest first."""

    edits: tuple[Edit, ...]

    @property
    def first(self) -> Edit:
        return self.edits[0]

    @property
    def last(self) -> Edit:
        return self.edits[-1]

    @property
    def is_change(self) -> bool:
        """Return whether the edits left a change: a file that was created and removed counts as unchanged."""
        return self.first.before != self.last.after or any(one.mode is not None for one in self.edits)

    @property
    def is_chain(self) -> bool:
        """Return whether each edit started from the content that the previous one left."""
        return all(one.after == then.before for one, then in zip(self.edits, self.edits[1:], strict=False))


def read(state: State, session_id: str) -> tuple[list[Changed], bool]:
    """Return the changed files, the last changed first, and whether the whole journal was read. Blocks."""
    floor = index.floor(state.index, session_id, _KINDS, MOST_ENTRIES)
    by_file: dict[tuple[str, str], list[Edit]] = {}
    for one in _edits(state, session_id, floor):
        if one.before != one.after or one.mode is not None:
            by_file.setdefault((one.workspace, one.path), []).append(one)
    changed = [Changed(tuple(edits)) for edits in by_file.values()]
    return sorted((one for one in changed if one.is_change), key=lambda one: one.last.place, reverse=True), floor == 0


def _edits(state: State, session_id: str, after: int) -> Iterator[Edit]:
    notes: dict[tuple[str, str], Mapping[str, Any]] = {}
    workspaces: dict[str, str] = {}
    while rows := state.index.events(after, limit=_BATCH, session=session_id, kinds=_KINDS):
        pool.check()
        after = rows[-1][0]
        for _, kind, line in rows:
            if not any(f'"{tool}"' in line for tool in TOOLS):
                continue
            entry = orjson.loads(line)
            data, run_id = entry["data"], str(entry["run"])
            if data["tool"] not in TOOLS:
                continue
            if kind == "tool.started":
                # A call that is repeated after a restart keeps its first observation.
                notes.setdefault((run_id, data["call_id"]), data["note"])
            elif not data["is_error"]:
                if run_id not in workspaces:
                    run = state.index.thing("run", run_id)
                    workspaces[run_id] = run["settings"]["workspace"] if run else ""
                yield from _of_call(entry, notes.pop((run_id, data["call_id"]), {}), workspaces[run_id])


def _of_call(entry: Mapping[str, Any], note: Mapping[str, Any], workspace: str) -> Iterator[Edit]:
    noted = {one["path"]: one for one in named(note)}
    for rank, one in enumerate(named(entry["data"]["detail"]) or named(note)):
        before = one.get("before")
        if before == one["after"]:  # detected as done after a restart: the note has the earlier content
            before = noted.get(one["path"], one).get("before")
        yield Edit(
            place=(entry["n"], rank),
            at=entry["at"],
            run_id=entry["run"],
            workspace=workspace,
            path=one["path"],
            before=before,
            after=one["after"],
            mode=one.get("mode"),
        )


def named(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the files that the note or the detail of a call names."""
    listed = value.get("files")
    files = listed if isinstance(listed, list) else [value]
    return [one for one in files if isinstance(one, Mapping) and "path" in one and "after" in one]


def page(found: Sequence[Changed], below: Place | None, limit: int) -> tuple[list[Changed], bool]:
    """Return the files last changed before a place, and whether more follow."""
    rest = [one for one in found if below is None or one.last.place < below]
    edits = 0
    for number, one in enumerate(rest):
        edits += len(one.edits)
        if number and (number >= limit or edits > MOST_EDITS):
            return rest[:number], True
    return rest, False
