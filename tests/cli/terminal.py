"""A pseudo-terminal with `kheish` on it in its plain form: what is typed when a text has come, and what is shown."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

KHEISH = (sys.executable, "-c", "import sys; from kheish.cli.main import main; sys.exit(main())")


def typed(words: tuple[str, ...], *steps: tuple[str, str]) -> str:
    """Return all that a command shows until it ends with 0; each step waits for a text, and types another."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "KHEISH_PLAIN": "1"}
    child = subprocess.Popen([*KHEISH, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = ""
    for expected, keys in steps:
        new = ""
        while expected not in new:
            new += os.read(ours, 65536).decode()
        os.write(ours, keys.encode())
        shown += new
    shown += read_all(ours)
    assert child.wait(10) == 0, shown
    return shown


def read_all(terminal: int) -> str:
    found = b""
    while True:
        try:
            found += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            os.close(terminal)
            return found.decode()
