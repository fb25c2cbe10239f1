"""An invocation of a hook as executors get it, and its failure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kheish.domain.events import Usage
from kheish.domain.hooks.answer import Answer, plain
from kheish.domain.hooks.definition import HookFile
from kheish.domain.runs import Run

#: bytes of an output that are read; a larger one is a failure
MOST_BYTES = 1 << 20


class HookFailed(Exception):
    """The failure of one attempt; the text is the reason."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(plain(reason))
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An invocation: the hook, the event, and what it reads. `run`: the run that waits for it."""

    id: str
    file: HookFile
    digest: str
    moment: str
    invocation_id: str
    document: Mapping[str, Any]
    session_id: str | None
    cwd: str
    run: Run | None = None

    def encoded(self) -> bytes:
        """Return the input as one line of JSON. A lone surrogate stays an escape."""
        return json.dumps(self.document, ensure_ascii=False).encode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """The reply of an executor."""

    answer: Answer = field(default_factory=Answer)
    exit_code: int | None = None
    usage: Usage | None = None  # of a model call
