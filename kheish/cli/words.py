"""An agent's words as they come, each printed once.

They arrive twice: as live `model.delta` frames, of which some may be missing, and once more, whole, with
`model.responded`. So what was shown of the current answer is kept, and only what is new is given out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BROKEN_OFF = "(the answer broke off; the model is asked again)"


class Words:
    """The answer that is being written. Methods return the text to print next, which may be empty."""

    def __init__(self) -> None:
        self._attempt: tuple[int, int] | None = None
        self._answered = -1  # the newest turn whose answer is complete: late frames of it say nothing new
        self._shown = ""
        self._gap = False

    @property
    def begun(self) -> bool:
        """True while a part of an answer stands there without its end."""
        return bool(self._shown)

    def breaks_off(self, frame: Mapping[str, Any]) -> bool:
        """True where `frame` begins another attempt while a part of the one before stands there."""
        return self.begun and _attempt(frame) != self._attempt and _attempt(frame)[0] > self._answered

    def delta(self, frame: Mapping[str, Any]) -> str:
        """The new part of a live frame (`turn`, `attempt`, `offset` in characters, `text`)."""
        attempt = _attempt(frame)
        if attempt[0] <= self._answered:
            return ""
        if attempt != self._attempt:
            self._attempt, self._shown, self._gap = attempt, "", False
        offset = int(frame.get("offset") or 0)
        if offset > len(self._shown) or self._gap:
            self._gap = True  # frames are missing: the whole answer will fill it in
            return ""
        new = str(frame.get("text") or "")[len(self._shown) - offset :]
        self._shown += new
        return new

    def whole(self, turn: object, text: str) -> str:
        """What of the complete answer was not shown yet."""
        shown, gap = self._shown, self._gap
        self._answered = max(self._answered, _number(turn))
        self.forget()
        if text.startswith(shown):
            return text[len(shown) :]
        # Without a gap it was shown, and differs only by what was scrubbed or spilled.
        return "\n" + text if gap else ""

    def forget(self) -> None:
        """Leave the current attempt: it failed, or is complete."""
        self._attempt, self._shown, self._gap = None, "", False


def _attempt(frame: Mapping[str, Any]) -> tuple[int, int]:
    return _number(frame.get("turn")), _number(frame.get("attempt"))


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
