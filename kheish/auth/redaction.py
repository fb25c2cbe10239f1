"""Redaction: known secret values never reach a journal. All writers use this module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from kheish.auth import forms
from kheish.auth.forms import MIN_LENGTH as MIN_LENGTH, Index

#: characters by which forms are indexed that a text may end in the middle of
_BEGINNING = 4
#: the most characters of a dump that are held back, and the possible beginnings of a dump
_HELD_DUMP = 4000
_DUMP_END = re.compile(r"(?:[0-9a-fA-F]{2,8}[ :,]{1,2})+[0-9a-fA-F]{0,8}\Z")
#: characters between the lines of a wrapped form, to be removed
_BETWEEN = dict.fromkeys(map(ord, "\r\n\t >"))
_MARKS = re.compile(rb"\[redacted:([^\]\n]+)\]")


class Scrubber:
    """A scrubber that replaces each secret in a JSON text by `[redacted:<name>]`, in every form that `forms` lists. It
    also replaces long pieces of encoded forms, however they are wrapped. Its set of secrets never changes."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._index = Index({name: value for name, value in secrets.items() if len(value) >= MIN_LENGTH})
        self._is_empty = not self._index.names
        self._beginnings: dict[str, list[str]] = {}
        for text in self._index.texts:
            for length in range(1, _BEGINNING + 1):
                self._beginnings.setdefault(text[:length], []).append(text)

    def __call__(self, line: bytes) -> bytes:
        """Return a JSON text without secrets; the same object if there are none."""
        return line if self._is_empty else self._scrubbed(line, is_json=True)

    def plain(self, raw: bytes) -> bytes:
        """Return other content than JSON, such as a file, without secrets."""
        return raw if self._is_empty else self._scrubbed(raw, is_json=False)

    @property
    def longest(self) -> int:
        """The length of the longest form."""
        return self._index.longest

    def names(self, raw: bytes) -> list[str]:
        """Return the names of the secrets whose values occur in some bytes."""
        before = set(_MARKS.findall(raw))
        marks = set(_MARKS.findall(self.plain(raw))) - before
        return sorted(name.decode() for name in marks)

    def cut(self, text: str) -> int:
        """Return the length up to which a text can be shown before its continuation is known: its end may begin a
        secret."""
        end = min(self._partial(text), self._piece(text), self._dump(text))
        while True:
            straddling = [at for at, stop in self._whole(text) if at < end < stop]
            if not straddling:
                return end
            end = min(straddling)

    def _scrubbed(self, raw: bytes, *, is_json: bool) -> bytes:
        touched: bool | None = self._index.touches(raw)
        present = self._index.present(raw, touched)
        result = raw
        if present:
            result, touched = forms.pattern(present, is_json).sub(self._replaced, raw), None
        result = self._index.pieces(result, is_json=is_json, touched=touched)
        return raw if result == raw else result

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        return self._index.names[match["form"]] if match["form"] is not None else match[0]

    def _partial(self, text: str) -> int:
        """Return the start of the first form of which the text may have only the beginning."""
        for at in range(max(0, len(text) - self.longest + 1), len(text)):
            known = self._beginnings.get(text[at : at + _BEGINNING])
            if known and any(len(form) > len(text) - at and form.startswith(text[at:]) for form in known):
                return at
        return len(text)

    def _piece(self, text: str) -> int:
        """Return the start of the longest end of the text that is a piece of encoded data, without line breaks."""
        joined = self._index.joined
        if not joined or not text:
            return len(text)
        tail = text[-self.longest * 2 :]
        letters = tail.translate(_BETWEEN) if "\n" in tail else tail
        low, high = 0, len(letters)  # the end of a piece is itself a piece: so bisection finds the longest
        step = 1
        while step <= high and letters[-step:] in joined:
            low, step = step, step * 2
        high = min(high, step - 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if letters[-middle:] in joined else (low, middle - 1)
        if not low:
            return len(text)
        kept = [at for at, letter in enumerate(tail) if ord(letter) not in _BETWEEN] if letters is not tail else None
        start = len(letters) - low
        return len(text) - len(tail) + (start if kept is None else kept[start])

    def _dump(self, text: str) -> int:
        """Return the start of a hexadecimal dump that the text may end in the middle of."""
        if self._is_empty or not (match := _DUMP_END.search(text, max(0, len(text) - _HELD_DUMP))):
            return len(text)
        return match.start() if match.start() > len(text) - _HELD_DUMP else len(text)

    def _whole(self, text: str) -> Iterable[tuple[int, int]]:
        for raw in self._index.present(text.encode(errors="replace")):
            form = raw.decode()
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)


NOTHING = Scrubber({})


class Stream:
    """A scrubber for a text that arrives in pieces. It finds secrets that cross pieces: it holds back text that may
    begin a secret."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._held = ""

    def feed(self, text: str) -> str:
        """Return the text that can be shown now."""
        text = self._held + text
        at = self._scrubber.cut(text)
        self._held = text[at:]
        return scrub_text(text[:at], self._scrubber)

    def end(self) -> str:
        """Return the text held back, at the end of input."""
        held, self._held = self._held, ""
        return scrub_text(held, self._scrubber)


def scrub_text(text: str, scrub: Callable[[bytes], bytes]) -> str:
    """Return a text other than JSON, scrubbed."""
    raw = orjson.dumps(text.encode(errors="replace").decode())  # half a surrogate pair is not JSON
    line = scrub(raw)
    return text if line is raw else str(orjson.loads(line))


def scrub_file(raw: bytes, scrub: Callable[[bytes], bytes]) -> bytes:
    """Return the content of a file without the secrets of `scrub`."""
    return scrub.plain(raw) if isinstance(scrub, Scrubber) else raw


def stream(scrub: Callable[[bytes], bytes]) -> Stream:
    """Return a stream with the secrets of `scrub`."""
    return Stream(scrub if isinstance(scrub, Scrubber) else NOTHING)


# --- unknown secrets: for logs, errors and debug, not for journals ----------------------------------------------------

_SHAPES = re.compile(
    r"(?P<pem>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z))"
    r"|(?P<jwt>\beyJ[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]+)"
    r"|(?P<age>\bAGE-SECRET-KEY-1[0-9A-Z]{20,})"
    r"|(?P<token>\b(?:sk-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|hf_\w{20,}|npm_\w{20,}|kheish_[\w-]{20,}))"
    r"|(?P<bearer>(?<=[Bb]earer )[\w.~+/=-]{12,})"
    r"|(?P<url>(?<=://)[^\s/@:\"']{0,200}:[^\s/@\"']{1,200}(?=@))",
    re.DOTALL,
)
#: characters of a long text that are searched at once, and those behind them that a match may need
_STEP, _AHEAD = 8192, 4096


def shapes(text: str) -> str:
    """Return the text without anything that looks like a credential: tokens, private keys, JWTs, URLs with a
    password."""
    if len(text) <= _STEP:
        return _SHAPES.sub(_marked, text)
    return "".join(_shapes_in_steps(text))


def _shapes_in_steps(text: str) -> Iterator[str]:
    """Yield the pieces of a long text. A search holds the interpreter's lock, so that each one is short."""
    at = 0
    while at < len(text):
        limit = at + _STEP
        end = limit + _AHEAD
        match = _SHAPES.search(text, at, end)
        if match is None or match.start() >= limit:
            yield text[at:limit]
            at = limit
            continue
        while match.end() == end < len(text):  # it may go on behind the part that was searched
            end = match.start() + 2 * (end - match.start())
            match = _SHAPES.search(text, match.start(), end) or match
        yield text[at : match.start()]
        yield _marked(match)
        at = match.end()


def _marked(match: re.Match[str]) -> str:
    return f"[redacted:{match.lastgroup}]"


def shown(value: Any) -> Any:
    """Return a value for a caller, with each text in it stripped of anything that looks like a credential."""
    match value:
        case str():
            return shapes(value)
        case list() | tuple():
            return [shown(item) for item in value]
        case dict():
            return {key: shown(item) for key, item in value.items()}
    return value


def scrubber(secrets: Mapping[str, str]) -> Scrubber:
    """Return a scrubber of these secrets, by name."""
    return Scrubber(secrets)
