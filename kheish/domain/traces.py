"""Trace Context (W3C): the span of a caller, as the header `traceparent` names it."""

from __future__ import annotations

import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z")


def parent(header: str | None) -> str | None:
    """Return the header in its known part; None for one that is missing or invalid, which the standard ignores."""
    if header is None or not _FORM.match(text := header.strip().lower()):
        return None
    return text[:55]
