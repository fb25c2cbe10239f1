"""Redaction: known secret values never reach a journal. One place, used by every writer."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, quote_plus

import orjson

MIN_LENGTH = 8  # characters: shorter values would blank out ordinary words


def scrubber(secrets: Mapping[str, str]) -> Callable[[bytes], bytes]:
    """A function that replaces each secret in a JSON text by `[redacted:<name>]`: the value as it is, JSON-escaped,
    URL-encoded, and in base64 at any of the three byte offsets."""
    names: dict[bytes, bytes] = {}
    for name, value in secrets.items():
        if len(value) >= MIN_LENGTH:
            for form in forms(value):
                names.setdefault(form, f"[redacted:{name}]".encode())
    if not names:
        return lambda line: line
    # longest first, so that a form that contains another is taken whole
    pattern = re.compile(b"|".join(re.escape(form) for form in sorted(names, key=len, reverse=True)))

    def replace(found: re.Match[bytes]) -> bytes:
        before = found.string[: found.start()]
        if (len(before) - len(before.rstrip(b"\\"))) % 2:
            return found[0]  # begins in the middle of an escape (`\n`): another text
        return names[found[0]]

    def scrub(line: bytes) -> bytes:
        return pattern.sub(replace, line) if pattern.search(line) else line

    return scrub


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
