"""Encoding of events as journal lines (numbering, spilling, scrubbing) and of values as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from kheish.state import event as reading
from kheish.state.event import Draft, Entry, Event, Spilled, changed
from kheish.store.log import spills

SPILL_BYTES = 16 * 1024  # a payload over this goes into its own file
PREVIEW_CHARS = 400
_REFERENCE = {"sha256", "bytes", "preview"}
_SIGN = b'"preview":'  # a key of every reference; inside a text the quotes would be escaped
#: mappings that are spilled as a single JSON text, not text by text
WHOLE = frozenset({"arguments", "nouns", "opaque", "payload"})
KEPT = frozenset({"metadata"})  # the caller's own data, bounded on input: never spilled


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry with its line (without newline), its journal, and the files that its line names."""

    entry: Entry
    journal: str
    line: bytes
    spills: tuple[tuple[str, bytes], ...] = ()


def encode(draft: Draft, n: int, seq: int, at: str, journal: str, scrub: Callable[[bytes], bytes]) -> Recorded:
    """Return an event as a journal line, with its entry as a reader of the journal will see it: scrubbed and
    spilled."""
    head: dict[str, Any] = {"v": 1, "n": n, "seq": seq, "at": at, "kind": draft.event.kind}
    if draft.session is None:
        head |= {"stream": journal.removeprefix("journals/"), "actor": draft.actor}
    else:
        head |= {"session": draft.session, "run": draft.run, "actor": draft.actor}
    raw = orjson.dumps({**head, "data": _renamed(draft.event) if draft.event.written else draft.event})
    line = scrubbed(raw, scrub)
    named: tuple[tuple[str, bytes], ...] = ()
    if draft.event.spillable and (len(line) > SPILL_BYTES or _SIGN in line):
        whole = orjson.loads(line)
        data = whole["data"]
        folder = journal.removesuffix("/journal")
        payloads: list[tuple[str, bytes]] = []
        digests = frozenset(_spilled_digests(draft.event))
        for name in draft.event.spillable:
            data[name] = _member(name, data[name], folder, payloads, digests)
        named = tuple(payloads)
        line = orjson.dumps(whole) if named else line
    if line is raw:
        entry = Entry(n=n, seq=seq, at=at, session=draft.session, run=draft.run, actor=draft.actor, event=draft.event)
    else:
        entry = reading.read(orjson.loads(line), {draft.event.kind: type(draft.event)})
    return Recorded(entry, journal, line, named)


#: the link of the first line of a chain
GENESIS = "0" * 64


def linked(draft: Draft, link: str | None) -> Draft:
    """Return the draft; a chained event gets the link to the line before it."""
    event: Any = draft.event
    return changed(draft, event=changed(event, prev=link or GENESIS)) if event.chained else draft


def follow(item: Recorded, links: dict[str, str]) -> None:
    """Record the newest link of a chained journal."""
    if item.entry.event.chained:
        links[item.journal] = link(item.line)


def link(line: bytes) -> str:
    """Return the digest of a line, which the next line of the chain refers to."""
    return sha256(line).hexdigest()


def _renamed(event: Event) -> dict[str, Any]:
    named = ((one.name, getattr(event, one.name)) for one in dataclasses.fields(event))
    return {event.written.get(name, name): value for name, value in named}


def scrubbed(raw: bytes, scrub: Callable[[bytes], bytes]) -> bytes:
    """Return JSON without secrets that is still valid JSON; the same object if there was nothing to scrub."""
    line = scrub(raw)
    if line is raw:
        return raw
    try:
        orjson.loads(line)
    except ValueError:
        # A secret made of digits also matches inside numbers: scrub each text separately instead.
        return orjson.dumps(_texts(orjson.loads(raw), scrub))
    return line


def holds_secret(value: Any, scrub: Callable[[bytes], bytes]) -> bool:
    """Return whether scrubbing would change a value in the journal."""
    raw = orjson.dumps(value)
    return scrub(raw) != raw


def _texts(value: Any, scrub: Callable[[bytes], bytes]) -> Any:
    match value:
        case str():
            return orjson.loads(scrub(orjson.dumps(value)))
        case list():
            return [_texts(item, scrub) for item in value]
        case dict():
            return {_texts(key, scrub): _texts(item, scrub) for key, item in value.items()}
    return value


def _spilled_digests(value: Any) -> Iterator[str]:
    """Yield the digests of the payloads that an event already refers to."""
    if isinstance(value, Spilled):
        yield value.sha256
    elif isinstance(value, tuple):
        for item in value:
            yield from _spilled_digests(item)
    elif dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from _spilled_digests(getattr(value, one.name))


def _spill(value: Any, folder: str, payloads: list[tuple[str, bytes]], digests: frozenset[str]) -> Any:
    """Return the value with each text over the limit replaced by a reference."""
    if isinstance(value, str):
        raw = value.encode()
        return _reference(raw, value, folder, payloads) if len(raw) > SPILL_BYTES else value
    if isinstance(value, list):
        return [_spill(item, folder, payloads, digests) for item in value]
    if isinstance(value, dict):
        return {key: _member(key, item, folder, payloads, digests) for key, item in value.items()}
    return value


def _member(key: str, value: Any, folder: str, payloads: list[tuple[str, bytes]], digests: frozenset[str]) -> Any:
    """Return the value of a member with its large texts replaced by references.

    Data from a caller or a model may look like a reference. It is then spilled itself, however small. So everything
    that looks like a reference in a spillable position is a reference, and reads back as the original data.
    """
    if key in KEPT:
        return value
    if key not in WHOLE or not (isinstance(value, dict | list) or key == "opaque"):
        return _spill(value, folder, payloads, digests)
    raw = orjson.dumps(value)
    looks_alike = isinstance(value, dict) and value.keys() == _REFERENCE and str(value["sha256"]) not in digests
    return _reference(raw, raw.decode(), folder, payloads) if len(raw) > SPILL_BYTES or looks_alike else value


def _reference(raw: bytes, text: str, folder: str, payloads: list[tuple[str, bytes]]) -> dict[str, Any]:
    digest = sha256(raw).hexdigest()
    payloads.append((spills.place_of(folder, digest), raw))
    return {"sha256": digest, "bytes": len(raw), "preview": text[:PREVIEW_CHARS]}


def spilled(value: Any) -> Iterator[str]:
    """Yield the digests of the files that the data of a line names."""
    if isinstance(value, dict):
        if value.keys() == _REFERENCE:
            yield value["sha256"]
            return
        value = value.values()
    elif not isinstance(value, list):
        return
    for item in value:
        yield from spilled(item)


def plain(value: Any) -> Any:
    """Return values as plain JSON data."""
    return orjson.loads(orjson.dumps(value))
