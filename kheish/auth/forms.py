"""The forms of a secret in a text, and an index that finds them, or long pieces of them, in linear time.

Whole forms: unchanged, JSON-escaped, URL-encoded, base64 at any of three byte offsets, hex. *Streams* are forms of
which a piece alone reveals part of the secret: encoded values, which programs wrap, number and indent, and lines that
look like keys.
"""

from __future__ import annotations

import base64
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, quote_plus

import orjson

MIN_LENGTH = 8  # characters: shorter values would blank out ordinary words
LINE_LENGTH = 16  # lines of a multi-line secret from this length on are secrets of their own
#: bytes that are looked up at once, and the length from which on a piece is always found, wherever it begins
_GRAM = 8
PIECE = 2 * _GRAM - 1
_LONGEST_CROSSING = 400  # a longer form that crosses lines is found by its pieces

_MARKER = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]+-----")
_LINES = re.compile(r"\r\n|\r|\n|\\r\\n|\\n")
#: no path: text that begins like the home folder is no piece of it
_KEY_LIKE = re.compile(r"(?![./~])[A-Za-z0-9+/_=.-]{16,}")
#: the end of a line in a text or in JSON (escaped once or more), with everything that may precede the next line's
#: content
BREAK = rb"=?(?:\\+[nr]|[\r\n])+(?:[ \t>]|\\+t|[0-9]+(?:\\+t|[\t:|]))*"
_BREAKS = re.compile(BREAK)
_ESCAPED = (b"=\\\\n", b"=\\n", b"=\\r", b"\\\\n", b"\\\\r", b"\\\\t", b"\\n", b"\\r", b"\\t")
_ESCAPED_ONCE = _ESCAPED[-3:]
#: the characters of a piece; escapes of JSON are matched whole, so that their letters belong to no piece
_RUN = rb"[A-Za-z0-9+/=_.-]{%d,}" % PIECE
_RUNS, _RUNS_IN_JSON = re.compile(_RUN), re.compile(rb"\\u[0-9a-fA-F]{4}|\\.|(" + _RUN + rb")", re.DOTALL)
#: a dump in hexadecimal, in groups. It is searched in a text of `h` for each digit, blanks between groups and `x` for
#: everything else, so that the pattern begins with literals, which is ten times as fast
_KINDS = bytes(104 if chr(one) in "0123456789abcdefABCDEF" else 32 if chr(one) in " :," else 120 for one in range(256))
_DUMP_LIKE = re.compile(rb"hh  ?h{2,8} {1,2}h{2,8} {1,2}hh")
_DUMP = re.compile(rb"(?:[0-9a-fA-F]{2,8}(?::|,)? {1,2}|[0-9a-fA-F]{2}[:,]){7,}[0-9a-fA-F]{2,8}")


def values(value: str) -> list[str]:
    """Return the parts of a value that are secrets of their own: all of it, stripped, and its long lines."""
    lines = [line.strip() for line in _LINES.split(value)]
    long = (
        [line for line in lines if len(line) >= LINE_LENGTH and not _MARKER.fullmatch(line)] if len(lines) > 1 else []
    )
    return [one for one in dict.fromkeys((value, value.strip(), *long)) if len(one) >= MIN_LENGTH]


def forms(value: str) -> Iterable[bytes]:
    """Return the forms in which a value may occur in a text."""
    raw = value.encode()
    yield raw
    for once in (orjson.dumps(value)[1:-1], json.dumps(value)[1:-1].encode()):
        yield once
        yield orjson.dumps(once.decode())[1:-1]  # in a JSON text that is itself a string
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded.encode()
        yield re.sub("%..", lambda found: found[0].lower(), encoded).encode()


def encodings(raw: bytes) -> Iterator[bytes]:
    """Return the value in base64 and hex. In base64, the characters at the ends depend on the neighbouring text; those
    in the middle do not."""
    for offset in range(3):
        shifted = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        middle = shifted[start : len(shifted.rstrip(b"=")) - 1]
        if len(middle) >= MIN_LENGTH:
            yield middle
            yield middle.replace(b"+", b"-").replace(b"/", b"_")
    yield raw.hex().encode()
    yield raw.hex().upper().encode()


class Index:
    """An index of the forms of secrets in bytes. A scan without matches takes a time that does not depend on the number
    of secrets, except for values below 15 characters."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.names: dict[bytes, bytes] = {}
        self._streams: dict[bytes, bytes] = {}
        for name, value in secrets.items():
            mark = f"[redacted:{name}]".encode()
            for one in values(value):
                # The lines of a value are part of its own encodings.
                encoded = list(encodings(one.encode())) if one in (value, value.strip()) else []
                for form in (*forms(one), *encoded):
                    self.names.setdefault(form, mark)
                for stream in (*encoded, *([one.encode()] if _KEY_LIKE.fullmatch(one) else [])):
                    self._streams.setdefault(stream, mark)
        by_length = sorted(self.names, key=len, reverse=True)  # a form that contains another is matched whole
        self.longest = len(by_length[0]) if by_length else 0
        self.texts = [form.decode() for form in by_length]
        self._short = [form for form in by_length if len(form) < PIECE]
        self._long = [form for form in by_length if len(form) >= PIECE]
        self._grams = _grams((*self._long, *self._streams))
        self._crossing = [form for form in self._streams if len(form) <= _LONGEST_CROSSING]
        self._short_crossing = [form for form in self._crossing if len(form) < PIECE]
        self.joined = "\n".join(stream.decode() for stream in self._streams)

    def present(self, raw: bytes, touched: bool | None = None) -> tuple[bytes, ...]:
        """Return the whole forms in some bytes, longest first. `touched` is the result of `touches`."""
        if touched is None:
            touched = self.touches(raw)
        found = [form for form in self._long if form in raw] if touched else []
        return (*found, *(form for form in self._short if form in raw))

    def pieces(self, raw: bytes, *, is_json: bool, touched: bool | None = None) -> bytes:
        """Return the bytes without encoded values that cross lines, and without pieces of streams. Whole forms are
        already removed. `touched` is the result of `touches` for the bytes."""
        if self._crossing and (b"\n" in raw or b"\\n" in raw):
            given, raw = raw, self._without_crossing(raw, is_json)
            touched = touched if raw is given else None
        if self.touches(raw) if touched is None else touched:
            runs = _RUNS_IN_JSON if is_json else _RUNS
            raw = runs.sub(lambda found: self._without_pieces(found[0]) if found[0][:1] != b"\\" else found[0], raw)
        return _DUMP.sub(self._dump, raw) if self._streams and _DUMP_LIKE.search(raw.translate(_KINDS)) else raw

    def touches(self, raw: bytes) -> bool:
        """Return whether some bytes may contain a form or piece: one of its grams stands at a multiple of 8."""
        return not self._grams.isdisjoint(array("Q", raw[: len(raw) // _GRAM * _GRAM]))

    def _without_crossing(self, raw: bytes, is_json: bool) -> bytes:
        joined = raw.replace(b"=\n", b"").translate(None, b" \t\r\n>")  # removes more than breaks: the pattern decides
        is_plain = b"\\\\" not in joined and b"=\\" not in joined  # then the first six do not occur
        for escape in _ESCAPED_ONCE if is_plain else _ESCAPED:
            joined = joined.replace(escape, b"")
        short = [form for form in self._short_crossing if form in joined]
        found = [form for form in self._crossing if form in joined] if self.touches(joined) else short
        return _over_lines(tuple(found), is_json).sub(self._named, raw) if found else raw

    def _named(self, found: re.Match[bytes]) -> bytes:
        if found["form"] is None:
            return found[0]
        return self._streams[_BREAKS.sub(b"", found[0])]

    def _without_pieces(self, run: bytes) -> bytes:
        out, at = bytearray(), 0
        while at <= len(run) - PIECE:
            piece = self._piece(run, at)
            if piece is None:
                break
            start, end, mark = piece
            out += run[at:start] + mark
            at = end
        return bytes(out + run[at:]) if at else run

    def _piece(self, run: bytes, at: int) -> tuple[int, int, bytes] | None:
        """Return the first piece of a stream in a run from `at` on: its start, its end, and its name."""
        for place in range(at, len(run) - _GRAM + 1):
            gram = run[place : place + _GRAM]
            if int.from_bytes(gram, _ORDER) not in self._grams:
                continue
            for stream, mark in self._streams.items():
                position = stream.find(gram)
                while position >= 0:
                    end = _GRAM
                    while run[place + end : place + end + 1] == stream[position + end : position + end + 1] != b"":
                        end += 1
                    if end >= PIECE:
                        return place, place + end, mark
                    position = stream.find(gram, position + 1)
        return None

    def _dump(self, found: re.Match[bytes]) -> bytes:
        digits = re.sub(rb"[^0-9a-fA-F]", b"", found[0])
        piece = self._piece(digits, 0)
        if piece is None:  # hexdump and od show words of two bytes with the second before the first
            groups = found[0].split()
            swapped = [bytes.fromhex(one.decode())[::-1].hex().encode() for one in groups if len(one) == 4]
            piece = self._piece(b"".join(swapped), 0)
        return found[0] if piece is None else piece[2]


_ORDER: Literal["little", "big"] = "little" if memoryview(b"\1" + b"\0" * 7).cast("Q")[0] == 1 else "big"


def _grams(forms: Iterable[bytes]) -> frozenset[int]:
    found: set[int] = set()
    for form in forms:
        for shift in range(min(_GRAM, len(form) - _GRAM + 1)):
            found.update(memoryview(form)[shift : shift + (len(form) - shift) // _GRAM * _GRAM].cast("Q"))
    return frozenset(found)


@lru_cache(maxsize=64)
def _over_lines(found: tuple[bytes, ...], is_json: bool) -> re.Pattern[bytes]:
    """Return a pattern of the forms with line breaks between any of their characters."""
    parts = [(b"(?:" + BREAK + b")?").join(re.escape(form[at : at + 1]) for at in range(len(form))) for form in found]
    whole = b"(?P<form>" + b"|".join(parts) + b")"
    return re.compile(whole + (rb"|\\u[0-9a-fA-F]{4}|\\." if is_json else b""), re.DOTALL)


@lru_cache(maxsize=256)
def pattern(found: tuple[bytes, ...], is_json: bool) -> re.Pattern[bytes]:
    """Return the pattern of whole forms. Escapes are matched whole: text that begins in the middle of an escape (`\\n`,
    `\\u0010`) is different text."""
    whole = b"(?P<form>" + b"|".join(map(re.escape, found)) + b")"
    return re.compile(whole + (rb"|\\u[0-9a-fA-F]{4}|\\." if is_json else b""), re.DOTALL)
