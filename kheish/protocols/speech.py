"""The text of a run over all of its turns, each character once, from its events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from kheish.client import requests
from kheish.client.run import RUN_ENDS
from kheish.client.sse import Event
from kheish.client.words import Words
from kheish.protocols import lines
from kheish.protocols.access import Access

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

#: between the texts of two turns, or of two attempts
GAP = "\n\n"
#: statuses in which a run needs its user, and in which it has ended
NEEDS_USER = frozenset({"waiting_for_approval", "waiting_for_question"})
ENDED = frozenset({"completed", "failed", "cancelled", "interrupted"})
#: live frames, and the events that matter here
KINDS = ("model.delta", "model.responded", "model.failed", "run.waiting", "run.requeued", *sorted(RUN_ENDS))


class Speech:
    """The words of a run. Methods return the text that is new, which may be empty."""

    def __init__(self) -> None:
        self._words = Words()
        self._turn: object = None
        self._unread: object = None
        self.length = 0

    def hear(self, event: Event) -> str:
        """Return the new text of an event."""
        data = event.data
        match event.kind:
            case "model.delta":
                gap = GAP if self._words.breaks_off(data) else ""
                return self._said(data.get("turn"), self._words.delta(data), gap)
            case "model.responded" if isinstance(data.get("text"), str):
                self._unread = None
                return self._said(data.get("turn"), self._words.whole(data.get("turn"), data["text"]))
            case "model.responded":
                self._unread = data.get("turn")  # a long text stands elsewhere; the run's output has it
        return ""

    @property
    def is_unread(self) -> bool:
        """Return whether the newest answer was too long for its event."""
        return self._unread is not None

    def finish(self, output: str | None) -> str:
        """Return the rest of the run's final text, if no event had it."""
        turn, self._unread = self._unread, None
        return self._said(turn, self._words.whole(turn, output)) if turn is not None and output is not None else ""

    def _said(self, turn: object, text: str, gap: str = "") -> str:
        if text and turn != self._turn:
            gap = GAP if self.length else ""
            self._turn = turn
        new = gap + text if text else ""
        self.length += len(new)
        return new


async def texts(access: Access, run: RunView, speech: Speech, after: int = 0) -> AsyncIterator[str]:
    """Yield the new texts of a run, and an empty one when it begins to wait for a user; end when it has ended.

    `speech` counts what was said. Raises the KheishError of the stream.
    """
    stream = access.follow(requests.run_events(run["run_id"], kind=KINDS), after=after)
    async with aclosing(stream) as events:
        async for event in events:
            if event.run not in (None, run["run_id"]):
                continue
            if event.kind in RUN_ENDS:
                return
            if event.kind == "run.waiting" and event.data.get("status") in NEEDS_USER:
                yield ""
            elif text := speech.hear(event):
                yield text


async def said(access: Access, run: RunView) -> str:
    """Return all that a run has said until now. Raises the KheishError of the request."""
    speech = Speech()
    answers = lines.read(access, run["session_id"], run=run["run_id"], kind="model.responded")
    parts = [speech.hear(event) async for event in answers]
    return "".join(parts) + speech.finish(run["output"])
