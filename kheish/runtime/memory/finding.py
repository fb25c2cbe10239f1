"""Full-text search in memory files: all words, phrases and beginnings of words, as in the search of the history."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kheish.domain.memory import names
from kheish.errors import FileRefused
from kheish.runtime.memory.catalog import Note
from kheish.store import door
from kheish.store.log import texts

_WORDS = re.compile(r'"([^"]+)"|(\S+)')
_WORD = re.compile(r"\w+")
_WIDTH = 300


@dataclass(frozen=True, slots=True)
class Hit:
    """A matching file, with the part around the first match."""

    note: Note
    snippet: str


def search(root: Path, notes: Iterable[Note], query: str, limit: int) -> list[Hit]:
    """Return the matching files, newest first. Blocks on disk. Raises ValueError for a query without a word."""
    texts.expression(query)
    hits: list[Hit] = []
    for note in sorted(notes, key=lambda note: (-note.changed_at, note.path)):
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


def matches(text: str, query: str) -> bool:
    """Return whether a text has all words of a query."""
    low = text.lower()
    known = set(_WORD.findall(low))
    for phrase, word in _WORDS.findall(query.lower()):
        if phrase:
            if " ".join(phrase.split()) not in " ".join(low.split()):
                return False
            continue
        parts = _WORD.findall(word)
        last = parts.pop() if parts and word.endswith("*") else None
        if any(part not in known for part in parts):
            return False
        if last is not None and not any(one.startswith(last) for one in known):
            return False
    return True
