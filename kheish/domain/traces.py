"""Trace Context (W3C): the span of a caller, as the header `traceparent` names it, and the ids of a run's own spans.

An id follows from what the span stands for, so it is the same after a restart.
"""

from __future__ import annotations

import hashlib
import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\Z")


def parent(header: str | None) -> str | None:
    """Return the header in its known part; None for one that is missing or invalid, which the standard ignores."""
    if header is None or not _FORM.match(text := header.strip().lower()):
        return None
    return text[:55]


def trace_id(run_id: str) -> int:
    """Return the id of a run's trace: the beginning of its SHA-256."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16], "big")


def span_id(run_id: str, *parts: str | int) -> int:
    """Return the id of a span of a run, from the turn, the attempt or the call that it stands for."""
    name = "/".join((run_id, *map(str, parts)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def root_id(run_id: str) -> int:
    """Return the id of a run's own span, which is the parent of its others."""
    return span_id(run_id, "run")


def of_run(run_id: str) -> str:
    """Return a run's own span as a `traceparent`, for the runs that it causes in other traces."""
    return f"00-{trace_id(run_id):032x}-{root_id(run_id):016x}-01"
