"""The daemon's log, on stderr and its newest lines in memory: times as everywhere else, and no credentials."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kheish import ids
from kheish.auth import redaction
from kheish.errors import Invalid
from kheish.store.escaping import visible

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
KEPT = 1000
#: loggers whose INFO lines are of no use to operators, and may contain URLs and headers
_QUIET = ("uvicorn.error", "httpx", "httpcore", "openai", "watchdog")


class Formatter(logging.Formatter):
    """A format with times in RFC 3339 and UTC. It blots out what looks like a credential, and what `scrub` removes.

    It covers the whole record, including the traceback.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.scrub: Callable[[], Callable[[bytes], bytes]] = lambda: redaction.NOTHING

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return ids.stamp(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return self._blotted(super().format(record))

    def said(self, record: logging.LogRecord) -> str:
        """Return the message and its traceback, without the prefix."""
        return self._blotted(_PLAIN.format(record))

    def _blotted(self, text: str) -> str:
        return redaction.shapes(redaction.scrub_text(text, self.scrub()))


_PLAIN = logging.Formatter("%(message)s")


class Kept(logging.Handler):
    """The newest lines in memory, for operators without access to stderr; lost on a restart."""

    def __init__(self, formatter: Formatter) -> None:
        super().__init__()
        self.formatter: Formatter = formatter
        self._number = 0
        self._lines: deque[Mapping[str, Any]] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        self._number += 1
        where = {"number": self._number, "at": ids.stamp(record.created), "level": record.levelname.lower()}
        self._lines.append({**where, "name": record.name, "text": self.formatter.said(record)})

    def lines(self) -> Sequence[Mapping[str, Any]]:
        """Return the kept lines, newest first."""
        return list(self._lines)[::-1]


def start() -> Kept:
    """Write the log to stderr, and keep its newest lines, from the level in KHEISH_LOG on. Raises Invalid."""
    level = os.environ.get("KHEISH_LOG", "info").upper()
    if level not in LEVELS:
        raise Invalid(f"KHEISH_LOG is {level.lower()!r}; write debug, info, warning, error or critical.")
    handler, formatter = logging.StreamHandler(sys.stderr), Formatter()
    handler.setFormatter(formatter)
    kept = Kept(formatter)
    logging.basicConfig(level=level, handlers=[handler, kept])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    return kept
