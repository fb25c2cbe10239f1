"""Regular expressions over untrusted texts, for confined child processes: they hold the interpreter's lock."""

from __future__ import annotations

import re


def found(pattern: str, text: str) -> bool:
    """Return whether the pattern matches anywhere in the text."""
    return re.search(pattern, text) is not None
