"""Redaction of captured content: known values of slots, and anything that looks like a credential."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from kheish.auth import redaction

Scrub = Callable[[bytes], bytes]
#: bytes behind a cut that are cleaned with what is kept, so that no part of a secret stays before it
MARGIN = 64 * 1024
_WITHHELD = (
    b'{"withheld": "these events contain a secret that is spread over several of them; capture with debug: full"}\n'
)


def clean(raw: bytes, scrub: Scrub) -> bytes:
    """Return content without secrets; the same bytes if there are none."""
    scrubbed = redaction.scrub_file(scrub(raw), scrub)
    try:
        text = scrubbed.decode()
    except UnicodeDecodeError:
        return scrubbed
    shown = redaction.shapes(text)
    return scrubbed if shown == text else shown.encode()


def bounded(raw: bytes, most: int, cleaned: Callable[[bytes], bytes]) -> bytes:
    """Return the first bytes of a content, cleaned; at most `most`."""
    if len(raw) <= most + MARGIN:
        return cleaned(raw)[:most]
    result = cleaned(raw[: most + MARGIN])
    return result[: max(0, min(most, len(result) - MARGIN))]


def clean_events(raw: bytes, scrub: Scrub) -> bytes:
    """Return the events of a stream without secrets; a note in their place if a secret is spread over several."""
    cleaned = clean(raw, scrub)
    return _WITHHELD if any(_has_secret(text, scrub) for text in _joined(cleaned)) else cleaned


def _has_secret(text: str, scrub: Scrub) -> bool:
    return redaction.shapes(redaction.scrub_text(text, scrub)) != text


def _joined(raw: bytes) -> list[str]:
    """Return the texts that the events make together: the strings at each place, in the order of the events."""
    texts: dict[tuple[str | int, ...], list[str]] = {}
    for line in raw.decode("utf-8", "replace").splitlines():
        try:
            document = orjson.loads(line.removeprefix("data:").strip())
        except ValueError:
            continue
        for place, text in _strings(document, ()):
            texts.setdefault(place, []).append(text)
    return ["".join(parts) for parts in texts.values() if len(parts) > 1]


def _strings(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*place, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, (*place, number))
