"""Redaction: known secret values never reach a journal. One place, used by every writer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import orjson

MIN_LENGTH = 8  # characters: shorter values would blank out ordinary words


class Scrubber:
    """Replaces each secret in a JSON text by `[redacted:<name>]`: the value as it is, JSON-escaped, URL-encoded, and in
    base64 at any of the three byte offsets. It knows the same secrets as long as it lives."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._names: dict[bytes, bytes] = {}
        for name, value in secrets.items():
            if len(value) >= MIN_LENGTH:
                for form in forms(value):
                    self._names.setdefault(form, f"[redacted:{name}]".encode())
        # longest first, so that a form that contains another is taken whole
        by_length = sorted(self._names, key=len, reverse=True)
        any_form = b"|".join(re.escape(form) for form in by_length)
        self._pattern = re.compile(any_form) if by_length else None
        # Escapes are taken whole: what begins in the middle of one (`\\n`, `\\u0010`) is another text.
        self._in_json = re.compile(b"(" + any_form + rb")|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL) if by_length else None
        self._texts = [form.decode() for form in by_length]
        self._begins = (
            re.compile("[" + "".join({re.escape(text[0]) for text in self._texts}) + "]") if by_length else None
        )

    def __call__(self, line: bytes) -> bytes:
        """A JSON text without them; the same object where it holds none."""
        if self._pattern is None or self._in_json is None or not self._pattern.search(line):
            return line
        found = self._in_json.sub(self._replaced, line)
        return line if found == line else found

    def plain(self, raw: bytes) -> bytes:
        """What is no JSON, such as a file, without them."""
        return self._pattern.sub(lambda found: self._names[found[0]], raw) if self._pattern else raw

    @property
    def longest(self) -> int:
        """How long the longest form is."""
        return len(self._texts[0].encode()) if self._texts else 0

    def names(self, raw: bytes) -> list[str]:
        """Whose values stand in some bytes, by name."""
        found = self._pattern.findall(raw) if self._pattern else ()
        return sorted({self._names[form].decode()[len("[redacted:") : -1] for form in found})

    def cut(self, text: str) -> int:
        """Up to where a text can be shown, before what comes next is known: what follows may begin a secret."""
        end = self._partial(text, 0)
        straddling = next((found for found in self._whole(text) if found[0] < end < found[1]), None)
        return end if straddling is None else self._partial(text, straddling[1])

    def _partial(self, text: str, start: int) -> int:
        if self._begins is None:
            return len(text)
        first = max(start, len(text) - len(self._texts[0]) + 1)
        for found in self._begins.finditer(text, first):
            rest = text[found.start() :]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self._texts):
                return found.start()
        return len(text)

    def _whole(self, text: str) -> Iterable[tuple[int, int]]:
        for form in self._texts:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + 1)

    def _replaced(self, found: re.Match[bytes]) -> bytes:
        return self._names[found[1]] if found[1] is not None else found[0]


NOTHING = Scrubber({})


class Stream:
    """Scrubs a text that comes in pieces, also a secret that lies across them: it holds back what may begin one."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown now."""
        text = self._held + text
        at = self._scrubber.cut(text)
        self._held = text[at:]
        return scrub_text(text[:at], self._scrubber)

    def end(self) -> str:
        """What was held back; no more comes."""
        held, self._held = self._held, ""
        return scrub_text(held, self._scrubber)


def scrub_text(text: str, scrub: Callable[[bytes], bytes]) -> str:
    """A text that is no JSON, scrubbed."""
    raw = orjson.dumps(text.encode(errors="replace").decode())  # half a surrogate pair is no JSON
    line = scrub(raw)
    return text if line is raw else str(orjson.loads(line))


def scrub_file(raw: bytes, scrub: Callable[[bytes], bytes]) -> bytes:
    """The content of a file without what `scrub` knows."""
    return scrub.plain(raw) if isinstance(scrub, Scrubber) else raw


def stream(scrub: Callable[[bytes], bytes]) -> Stream:
    """A stream that knows what `scrub` knows."""
    return Stream(scrub if isinstance(scrub, Scrubber) else NOTHING)


# --- secrets that nobody told: for logs, errors and debug, not for journals -------------------------------------------

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


def shapes(text: str) -> str:
    """The text without what looks like a credential: tokens, private keys, JWTs, URLs with a password."""
    return _SHAPES.sub(lambda found: f"[redacted:{found.lastgroup}]", text)


def shown(value: Any) -> Any:
    """What is shown to a caller, each text in it without what looks like a credential."""
    match value:
        case str():
            return shapes(value)
        case list() | tuple():
            return [shown(item) for item in value]
        case dict():
            return {key: shown(item) for key, item in value.items()}
    return value


def scrubber(secrets: Mapping[str, str]) -> Scrubber:
    """What blots these secrets out, by name."""
    return Scrubber(secrets)


def forms(value: str) -> Iterable[bytes]:
    """How a value may stand in a text."""
    raw = value.encode()
    yield raw
    for once in (orjson.dumps(value)[1:-1], json.dumps(value)[1:-1].encode()):
        yield once
        yield orjson.dumps(once.decode())[1:-1]  # in a JSON text that is itself a string
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded.encode()
        yield re.sub("%..", lambda found: found[0].lower(), encoded).encode()
    for offset in range(3):
        # The characters at the ends depend on what stands beside the value; those in the middle do not.
        shifted = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        middle = shifted[start : len(shifted.rstrip(b"=")) - 1]
        if len(middle) >= MIN_LENGTH:
            yield middle
            yield middle.replace(b"+", b"-").replace(b"/", b"_")
