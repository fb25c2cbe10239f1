"""Giving memory back to the system: glibc keeps what was freed, and a burst would be held for ever."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> None:
    """Give back what is free. Nothing where the C library has no way to (musl, macOS)."""
    found = _trim()
    if found is not None:
        found(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
