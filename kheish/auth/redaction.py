"""Redaction: known secret values never reach a journal. One place, used by every writer."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

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

    def scrub(line: bytes) -> bytes:
        return pattern.sub(lambda found: names[found[0]], line) if pattern.search(line) else line

    return scrub


def forms(value: str) -> Iterable[bytes]:
    """How a value may stand in a text."""
    raw = value.encode()
    yield raw
    yield orjson.dumps(value)[1:-1]
    yield quote(value, safe="").encode()
    for offset in range(3):
        # The characters at the ends depend on what stands beside the value; those in the middle do not.
        encoded = base64.b64encode(b"\0" * offset + raw)
        start = (offset * 8 + 5) // 6
        middle = encoded[start : len(encoded.rstrip(b"=")) - 1]
        if len(middle) >= MIN_LENGTH:
            yield middle
            yield middle.replace(b"+", b"-").replace(b"/", b"_")
