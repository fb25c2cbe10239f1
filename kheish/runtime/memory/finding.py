"""Full-text search in memory files: all words, phrases and beginnings of words, as in the search of the history."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kheish.domain.memory import names
from kheish.errors import FileRefused
from kheish.runtime.memory import signatures
from kheish.runtime.memory.catalog import Note
from kheish.runtime.memory.signatures import WORD
from kheish.store import door
from kheish.store.log import texts

_WORDS = re.compile(r'"([^"]+)"|(\S+)')
_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Hit:
    """A matching file, with the part around the first match."""

    note: Note
    snippet: str


def search(root: Path, notes: Iterable[Note], query: str, limit: int) -> list[Hit]:
    """Return the matching files, newest first. Blocks on disk. Raises ValueError for a query without a word."""
    texts.expression(query)
    words = list(whole_words(query.lower()))
    hits: list[Hit] = []
    for note in sorted(notes, key=lambda note: (-note.changed_at, note.path)):
        if not signatures.may_have(note.signature, words):
            continue
        try:
            raw = door.read(root, note.path, most=names.MOST_BYTES)
        except (OSError, FileRefused):
            continue
        text = raw.decode("utf-8", "replace")
        if matches(f"{note.name}\n{text}", query):
            hits.append(Hit(note, texts.snippet(text, texts.terms(query), _WIDTH)))
            if len(hits) >= limit:
                break
    return hits


def whole_words(query: str) -> Iterator[str]:
    """Yield the words of a query that a matching text has as words; the ends of a phrase may be parts of one."""
    for phrase, word in _WORDS.findall(query):
        parts = WORD.findall(phrase or word)
        if phrase:
            yield from parts[1:-1]
        elif word.endswith("*") and parts:
            yield from parts[:-1]
            if len(parts[-1]) >= signatures.BEGINNING:
                yield signatures.beginning(parts[-1])
        else:
            yield from parts


def matches(text: str, query: str) -> bool:
    """Return whether a text has all words of a query."""
    low = text.lower()
    if any(part not in low for _, word in _WORDS.findall(query.lower()) for part in WORD.findall(word)):
        return False  # most files: to split a text into words costs far more
    known = set(WORD.findall(low))
    for phrase, word in _WORDS.findall(query.lower()):
        if phrase:
            if " ".join(phrase.split()) not in " ".join(low.split()):
                return False
            continue
        parts = WORD.findall(word)
        last = parts.pop() if parts and word.endswith("*") else None
        if any(part not in known for part in parts):
            return False
        if last is not None and not any(one.startswith(last) for one in known):
            return False
    return True
