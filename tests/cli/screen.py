"""A terminal with `kheish` on it, as a person sees it: what is on the screen after all escapes, keys, and its size."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyte

from tests.cli.terminal import KHEISH
from tests.support.daemon import until

ENTER, ESC, ALT_ENTER, CTRL_C, CTRL_D, CTRL_O, UP = "\r", "\x1b", "\x1b\r", "\x03", "\x04", "\x0f", "\x1b[A"


def pasted(text: str) -> str:
    """The keys of a paste, as terminals mark it."""
    return f"\x1b[200~{text}\x1b[201~"


class Screen:
    """The screen and keyboard of one command."""

    def __init__(self, terminal: int, child: subprocess.Popen[bytes], columns: int, rows: int) -> None:
        self.child = child
        self.raw = b""
        self._terminal = terminal
        self._screen = pyte.HistoryScreen(columns, rows, history=2000, ratio=1.0)
        self._stream = pyte.ByteStream(self._screen)

    def read(self, seconds: float = 0.02) -> bool:
        """Take in what the command has written; False at its end."""
        while select.select([self._terminal], [], [], seconds)[0]:
            try:
                chunk = os.read(self._terminal, 65536)
            except OSError:
                return False
            if not chunk:
                return False
            self.raw += chunk
            self._stream.feed(chunk)
            seconds = 0.0
        return True

    @property
    def lines(self) -> list[str]:
        """All lines, those that were scrolled out first."""
        out = ["".join(row[at].data for at in range(self._screen.columns)) for row in self._screen.history.top]
        return [line.rstrip() for line in [*out, *self._screen.display]]

    @property
    def cells(self) -> Iterator[list[Any]]:
        """The cells of each row that is on the screen, with their colours."""
        for row in range(self._screen.lines):
            yield [self._screen.buffer[row][at] for at in range(self._screen.columns)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait(self, text: str, seconds: float = 30.0) -> str:
        """Wait for a text on the screen, and return all lines."""
        try:
            until(lambda: (self.read(), text in self.text)[1], seconds)
        except AssertionError:
            raise AssertionError(f"no {text!r} within {seconds:g} s on\n{self.text}") from None
        return self.text

    def prompted(self) -> None:
        """Wait until the last line is an empty one of the editor."""
        until(lambda: (self.read(), self.text.rstrip().endswith("\n>"))[1], what="an empty line to type in")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self.child.send_signal(signal.SIGWINCH)

    def end(self, code: int = 0) -> str:
        """Wait for the end of the command, and return all lines."""
        deadline = time.monotonic() + 30
        while self.read(0.1) and self.child.poll() is None and time.monotonic() < deadline:
            pass
        assert self.child.wait(10) == code, self.text
        return self.text


@contextmanager
def screen(*words: str, columns: int = 80, rows: int = 40, **env: str) -> Iterator[Screen]:
    """Run a command of `kheish` on a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "KHEISH_PLAIN")}
    child = subprocess.Popen(
        [*KHEISH, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**environment, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Screen(ours, child, columns, rows)
    finally:
        child.kill()
        child.wait(10)
        os.close(ours)
