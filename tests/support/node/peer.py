"""A script of node that is asked by lines of JSON, and prints what happens as lines of JSON."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import npm
from tests.support.daemon import until

Line = dict[str, Any]


class Peer:
    """The running script. `lines` are all that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self.lines: list[Line] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, **line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def begin(self, **line: Any) -> int:
        """Send a line with a number, which its answer has."""
        number = next(self._numbers)
        self.send(id=number, **line)
        return number

    def answer(self, number: int) -> Line:
        return self.find(lambda line: line.get("id") == number)

    def find(self, is_wanted: Callable[[Line], object], after: int = 0) -> Line:
        """The first line of a kind, among those after the first `after`."""
        return until(lambda: next(filter(is_wanted, self.lines[after:]), None), what=f"a line after {self.lines[-3:]}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(30)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))


@contextmanager
def running(script: str, *words: str, env: Mapping[str, str] | None = None) -> Iterator[Peer]:
    """A script of this folder, which ends with the block."""
    command = [str(npm.node()), str(Path(__file__).with_name(script)), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=None if env is None else dict(env)
    ) as process:
        peer = Peer(process)
        try:
            yield peer
            peer.close()
        finally:
            process.kill()
