"""Limits of a conversion. The child sets them for itself; its parent stops one that exceeds them nevertheless."""

from __future__ import annotations

MEMORY = 1536 * 1024**2  # bytes of address space
CPU_SECONDS = 60
PAGE_SECONDS = 10.0  # of processor time, for web pages: their parser takes the square of the size of a broken one
WALL_SECONDS = 180.0  # a conversion yields to everything else on a busy machine
TEXT_BYTES = 4 * 1024**2
IMAGE_BYTES = 8 * 1024**2
PAGES = 500
UNPACKED = 100 * 1024**2
ENTRIES = 10_000
PIXELS = 50_000_000
HEAD_BYTES = 64 * 1024  # of the answer's description
WHY_CHARACTERS = 1000


class Refused(Exception):
    """The error that a file is not converted, with the reason as a sentence."""
