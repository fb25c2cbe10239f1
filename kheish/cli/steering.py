"""Lines that a user types while a run is followed: each is sent as a message for the run's next turn.

A thread reads the terminal in the meantime. It pauses while an approval or a question is asked, so that each line is
read by one of both; lines of before are sent as messages first, and never answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import click

from kheish.cli.followed import FollowedRun
from kheish.cli.output import paint, plain, say
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.client import Event, Kheish, Run

_LOOK_SECONDS = 0.1
_LINE_BYTES = 64 * 1024
#: seconds until a message that came too late for its run has another
_RUN_SECONDS = 5.0


class Steering:
    """The reader of the terminal while a run is followed. `unsent` has a line that could not be sent; an empty line
    `leaves` the chat after the run."""

    def __init__(self, client: Kheish, run_id: str) -> None:
        self.unsent = ""
        self.leaves = False
        self._client = client
        self._run_id = run_id
        self._sent: list[tuple[str, str]] = []  # the recipient and the id of each message
        self._reads = threading.Lock()
        self._prompts = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, name="steering", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Read no more lines."""
        self._done.set()
        self._thread.join()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to a prompt; send the lines of before first."""
        self._prompts.set()
        try:
            with self._reads:
                while _is_typed(0.0) and self._take():
                    pass
                yield
        finally:
            self._prompts.clear()

    def run_after(self) -> str | None:
        """Return the run that a message got because it came too late for this one; None if there is none."""
        until = time.monotonic() + _RUN_SECONDS
        for agent, message_id in self._sent:
            while True:
                message = self._client.mailbox.get(agent, message_id)
                if message["state"] != "pending" or time.monotonic() > until:
                    break
                time.sleep(_LOOK_SECONDS)
            if message["run_id"] not in (None, self._run_id):
                return message["run_id"]
        return None

    def _read(self) -> None:
        while not self._done.is_set():
            if self._prompts.is_set():
                time.sleep(_LOOK_SECONDS)
                continue
            with self._reads:
                if not self._prompts.is_set() and _is_typed(_LOOK_SECONDS) and not self._take():
                    return

    def _take(self) -> bool:
        """Send a line. Return False for an empty or a refused line, and at the end of the input."""
        raw = os.read(sys.stdin.fileno(), _LINE_BYTES)  # a terminal returns one line
        text = raw.decode("utf-8", "replace").strip()
        if not text:
            self.leaves = True
            return False
        try:
            posted = self._client.runs.steer(self._run_id, text)
        except KheishError as error:
            self.unsent = text
            click.echo(plain(f"kheish: {error.detail}"), err=True)
            return False
        self._sent.append((posted["session_id"], posted["message_id"]))
        say(paint("(sent for the next turn)", dim=True))
        return True


class SteeredRun(FollowedRun):
    """A run that is steered up to its end: lines that come after its last event are for the next prompt."""

    def __init__(self, run: Run, steering: Steering) -> None:
        super().__init__(run)
        self._steering = steering

    def events(self, after: int) -> Iterator[Event]:
        """Yield its events."""
        yield from super().events(after)
        self._steering.stop()


def _is_typed(seconds: float) -> bool:
    try:
        return bool(select.select([sys.stdin], [], [], seconds)[0])
    except (OSError, ValueError):
        return False
