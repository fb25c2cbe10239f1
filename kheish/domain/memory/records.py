"""Records of ended runs: one short text each, kept by session, and shown to later runs as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import orjson

from kheish import ids
from kheish.domain import events
from kheish.domain.events import Entry, Event, Item, Spilled, Text, changed, frozen
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.domain.events import Draft
    from kheish.state.state import State

CHARACTERS = 480  # of a record
DAYS = 30
MOST = 32  # records of a session
SHOWN = 3  # records in a prompt
_FILES = 8
_PART = 150  # characters of the request, and of the outcome
_WORD = re.compile(r"\w{4,}")


@frozen
class RunRecord:
    """The record of one run."""

    run_id: str
    text: str
    at: str


@frozen
class Doing:
    """The changed files and failed tools of a run that has not ended."""

    files: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


@frozen
class RunRecords:
    """The newest records of a session, oldest first, and notes on its open runs."""

    session_id: str
    records: tuple[RunRecord, ...] = ()
    doing: dict[str, Doing] = field(default_factory=dict)
    made: int = 0
    n: int = 0


_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)
FOLDED = (events.MemoryRecorded, events.ToolFinished, *_ENDS)


def fold(table: dict[str, RunRecords], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    run = entry.run or ""
    one = table.get(entry.session) or RunRecords(session_id=entry.session, made=entry.n)
    match entry.event:
        case events.MemoryRecorded(text=text):
            record = RunRecord(run_id=run, text=text, at=entry.at)
            one = changed(one, records=(*one.records, record)[-MOST:])
        case events.ToolFinished() as event:
            before = one.doing.get(run, Doing())
            after = _noted(before, event)
            if after is before:
                return ()
            one = changed(one, doing={**one.doing, run: after})
        case _ if run in one.doing:
            one = changed(one, doing={id: doing for id, doing in one.doing.items() if id != run})
        case _:
            return ()
    table[entry.session] = changed(one, n=entry.n)
    return (entry.session,)


def _noted(before: Doing, event: events.ToolFinished) -> Doing:
    """Return the notes with what a call changed, or that it failed; the same object if there is nothing to note."""
    if event.is_error:
        is_new = event.tool not in before.failed and len(before.failed) < _FILES
        return changed(before, failed=(*before.failed, event.tool)) if is_new else before
    paths = [path for path in _changed_paths(event.detail) if path not in before.files]
    return changed(before, files=(*before.files, *paths)[-_FILES:]) if paths else before


def _changed_paths(detail: Any) -> list[str]:
    """Return the paths of an edit; an edit's detail has the digests before and after."""
    if not isinstance(detail, dict):
        return []
    edits = detail["files"] if isinstance(detail.get("files"), list) else [detail]
    return [
        one["path"] for one in edits if isinstance(one, dict) and "after" in one and isinstance(one.get("path"), str)
    ]


NOUN = Noun(
    name="run_records",
    cls=RunRecords,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[RunRecords], entry),
    keep=always,
)


def draft(state: State, session_id: str, run_id: str, asked: Sequence[Item], last: Event) -> list[Draft]:
    """Return the record of a run that ends with `last`; empty if the setting turns records off."""
    if state.definitions.config.memory.run_records != "on":
        return []
    one = state.table(RunRecords, session_id).get(session_id)
    doing = one.doing.get(run_id, Doing()) if one is not None else Doing()
    text = compose(next((_plain(item.text) for item in asked if item.text is not None), ""), last, doing)
    return [events.MemoryRecorded(text=shorten(text, state.scrub)).on(session_id, run_id)]


def compose(asked: str, last: Event, doing: Doing) -> str:
    """Return the text of a record."""
    parts = [f"Asked: {_cut(asked, _PART)}"]
    match last:
        case events.RunCompleted(output=output):
            parts.append(f"Outcome: {_cut(_plain(output), _PART)}")
        case events.RunFailed(error=error):
            parts.append(f"Failed: {_cut(f'{error.code}: {error.message}', _PART)}")
        case _:
            parts.append(f"Ended: {last.kind.partition('.')[2]}")
    if doing.files:
        parts.append(f"Changed: {_cut(', '.join(doing.files), _PART)}")
    if doing.failed:
        parts.append(f"Failed calls: {_cut(', '.join(doing.failed), 60)}")
    return "; ".join(parts)


def shorten(text: str, scrub: Callable[[bytes], bytes]) -> str:
    """Return a text without secrets in the length of a record: it is cut after the scrubbing, so that no part of a
    secret is left."""
    raw = orjson.dumps(text)
    clean = scrub(raw)
    if clean is not raw:
        try:
            text = str(orjson.loads(clean))
        except orjson.JSONDecodeError:
            return "[redacted]"
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"


def relevant(records: Sequence[RunRecord], query: str, now: str) -> list[RunRecord]:
    """Return the records that share the most words with a query, newest first among equals; none without a shared
    word. Expired records are left out."""
    words = set(_WORD.findall(query.lower()))
    oldest = ids.seconds_of(now) - DAYS * 86400
    scored = [
        (len(words & set(_WORD.findall(one.text.lower()))), one.at, one)
        for one in records
        if ids.seconds_of(one.at) >= oldest
    ]
    best = sorted((row for row in scored if row[0]), key=lambda row: row[:2], reverse=True)
    return [one for _, _, one in best[:SHOWN]]


def _plain(text: Text | Mapping[str, Any] | None) -> str:
    """Return a text, or its beginning if it is too large for the journal."""
    if isinstance(text, Spilled):
        return text.preview
    return text if isinstance(text, str) else ""


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
