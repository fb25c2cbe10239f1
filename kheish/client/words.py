"""Streaming of an agent's words, each printed once.

The text arrives twice: in live `model.delta` frames, some of which may be missing, and complete with `model.responded`.
This module tracks the part of the current answer that was shown, and returns only new text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BROKEN_OFF = "(the answer was cut off; retrying the model call)"


class Words:
    """The answer that is being written. Methods return the text to print next, which may be empty."""

    def __init__(self) -> None:
        self._attempt: tuple[int, int] | None = None
        self._answered = -1  # the newest turn with a complete answer; later frames of it are ignored
        self._shown = ""
        self._gap = False

    @property
    def begun(self) -> bool:
        """Return whether a part of an unfinished answer was shown."""
        return bool(self._shown)

    def breaks_off(self, frame: Mapping[str, Any]) -> bool:
        """Return whether `frame` begins another attempt although a part of the previous one was shown."""
        return self.begun and _attempt(frame) != self._attempt and _attempt(frame)[0] > self._answered

    def delta(self, frame: Mapping[str, Any]) -> str:
        """Return the new part of a live frame (`turn`, `attempt`, `offset` in characters, `text`)."""
        attempt = _attempt(frame)
        if attempt[0] <= self._answered:
            return ""
        if attempt != self._attempt:
            self._attempt, self._shown, self._gap = attempt, "", False
        offset = int(frame.get("offset") or 0)
        if offset > len(self._shown) or self._gap:
            self._gap = True  # frames are missing: the complete answer fills the gap
            return ""
        new = str(frame.get("text") or "")[len(self._shown) - offset :]
        self._shown += new
        return new

    def whole(self, turn: object, text: str) -> str:
        """Return the part of the complete answer that was not shown."""
        shown, gap = self._shown, self._gap
        self._answered = max(self._answered, _number(turn))
        self.forget()
        if text.startswith(shown):
            return text[len(shown) :]
        # Without a gap all of it was shown; the texts differ only by scrubbing or spilling.
        return "\n" + text if gap else ""

    def forget(self) -> None:
        """Discard the current attempt, which failed or is complete."""
        self._attempt, self._shown, self._gap = None, "", False


def _attempt(frame: Mapping[str, Any]) -> tuple[int, int]:
    return _number(frame.get("turn")), _number(frame.get("attempt"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
