"""The release of memory to the system: glibc keeps freed memory, so a burst would occupy it for good."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> None:
    """Release free memory. Does nothing if the C library has no function for it (musl, macOS)."""
    function = _trim()
    if function is not None:
        function(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
