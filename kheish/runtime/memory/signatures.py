"""Signatures of texts: Bloom filters of their words, so that a search reads the files that may match, and no others.

A rare word would otherwise cost reading every file. A signature has a fifth of the size of its text at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from zlib import crc32

WORD = re.compile(r"\w+")
#: with these, one word of 300 that a text lacks seems to be there
_BITS, _HASHES = 12, 4
#: characters of the beginnings of words, for queries such as `deplo*`
BEGINNING = 4

Signature = bytes


def of(text: str) -> Signature:
    """Return the signature of a text."""
    words = set(WORD.findall(text.lower()))
    words |= {beginning(word) for word in words if len(word) >= BEGINNING}
    size = max(1, len(words) * _BITS // 8)
    bits = bytearray(size)
    for word in words:
        for place in _places(word, size * 8):
            bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def beginning(word: str) -> str:
    """Return the entry for the beginning of a word, which no word equals."""
    return f"{word[:BEGINNING]}*"


def may_have(signature: Signature, words: Iterable[str]) -> bool:
    """Return whether a text may have all of these words, in lower case; an empty signature is of an unknown text."""
    size = len(signature) * 8
    return not size or all(signature[place >> 3] >> (place & 7) & 1 for word in words for place in _places(word, size))


def _places(word: str, size: int) -> Iterator[int]:
    raw = word.encode("utf-8", "replace")
    first, step = crc32(raw), crc32(raw, 1) | 1
    return ((first + number * step) % size for number in range(_HASHES))
