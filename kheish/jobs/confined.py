"""Pure functions of untrusted input, computed in child processes under a deadline and a memory limit.

Python's regular expressions and parsers hold the interpreter's lock and cannot be stopped. So untrusted input must not
reach them on the event loop or in a thread; a child process can be killed. Each purpose has its own pool, so that
hostile web pages delay only other web pages. Children start on use and end after some idle seconds.

Rejected: `multiprocessing` (it pickles: a compromised child could run code here), and a child for each call (its start
costs more than most calls).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import orjson

from kheish.jobs.confined_child import frame

_MEMORY = 1 << 30  # bytes of address space of a child
_IDLE = 30.0  # seconds
_ANSWER_BYTES = 64 << 20
_CHUNK = 1 << 20
#: a deadline is in the child's processor time, since the child yields to all else on a busy machine; in wall time it is
#: this many times as long at most
_STRETCH = 6
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_LEAST_WAIT = 0.02


class Overdue(Exception):
    """The error that the computation was stopped at its deadline."""


class Failed(Exception):
    """The error that the function raised, or that its process died; the text has the reason."""


class _Request:
    """A call and the future of its answer."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> None:
        self.frame = frame({"call": f"{function.__module__}:{function.__qualname__}", "args": args})
        self.seconds = seconds
        self.future: Future[Any] = Future()


class Pool:
    """At most `size` children that compute for a single purpose."""

    def __init__(self, name: str, size: int = 2, memory: int = _MEMORY) -> None:
        self._name = name
        self._size = size
        self._memory = memory
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    async def call(self, function: Callable[..., Any], *args: Any, seconds: float) -> Any:
        """Return the result of a module's function for JSON values and bytes. It returns JSON values, and has no side
        effects.

        `seconds` is its deadline in processor time, from the moment when a child is free for it. Raises Overdue,
        Failed.
        """
        request = await asyncio.to_thread(_Request, function, args, seconds)
        self._submit(request)
        return await asyncio.wrap_future(request.future)

    def run(self, function: Callable[..., Any], *args: Any, seconds: float) -> Any:
        """Return the same as `call`, blocking, for threads other than the event loop's."""
        request = _Request(function, args, seconds)
        self._submit(request)
        return request.future.result()

    def _submit(self, request: _Request) -> None:
        with self._lock:
            self._requests.put(request)
            if self._idle < self._requests.qsize() and self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._work, name=f"confined-{self._name}", daemon=True).start()

    def _work(self) -> None:
        child = _Child(self._memory)
        try:
            while (request := self._next()) is not None:
                if request.future.set_running_or_notify_cancel():
                    _settle(child, request)
        finally:
            child.close()

    def _next(self) -> _Request | None:
        """Return the next request. Return None after an idle while; this thread then no longer counts."""
        with self._lock:
            self._idle += 1
        try:
            return self._requests.get(timeout=_IDLE)
        except queue.Empty:
            with self._lock:
                if self._requests.qsize():
                    return self._requests.get()
                self._threads -= 1
            return None
        finally:
            with self._lock:
                self._idle -= 1


def _settle(child: _Child, request: _Request) -> None:
    try:
        answer = child.ask(request.frame, request.seconds)
    except TimeoutError:
        request.future.set_exception(Overdue(f"It was stopped after {request.seconds:g} s."))
    except (OSError, ValueError) as error:
        request.future.set_exception(Failed(f"The process that computes it ended: {error}."))
    else:
        if "error" in answer:
            request.future.set_exception(Failed(str(answer["error"])))
        else:
            request.future.set_result(answer["ok"])


class _Child:
    """A child process that starts on use and belongs to a single thread."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: tuple[bytes, ...], seconds: float) -> dict[str, Any]:
        """Send a request and return the answer. Raises TimeoutError, OSError or ValueError; then the child is gone."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = _Deadline(process.pid, seconds)
        try:
            for piece in request:
                _write(process.stdin.fileno(), piece, deadline)
            size = int.from_bytes(_read(process.stdout.fileno(), 8, deadline)[:4], "big")
            if size > _ANSWER_BYTES:
                raise ValueError(f"its answer has {size} bytes")
            answer: dict[str, Any] = orjson.loads(_read(process.stdout.fileno(), size, deadline))
        except (OSError, ValueError):  # TimeoutError is an OSError
            self.close()
            raise
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-B", "-m", "kheish.jobs.confined_child", str(self._memory)]
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(  # nosec B603 - a fixed command line
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        return self._process

    def close(self) -> None:
        """End the child and reap it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        process.wait()


def _write(descriptor: int, data: bytes, deadline: _Deadline) -> None:
    view = memoryview(data)
    while view:
        _await(descriptor, select.POLLOUT, deadline)
        view = view[os.write(descriptor, view[:_CHUNK]) :]


def _read(descriptor: int, size: int, deadline: _Deadline) -> bytes:
    data = bytearray()
    while len(data) < size:
        _await(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, min(_CHUNK, size - len(data)))
        if not chunk:
            raise BrokenPipeError("it closed its output")
        data += chunk
    return bytes(data)


class _Deadline:
    """The rest of a child's time to compute."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._stat = f"/proc/{pid}/stat"
        self._seconds = seconds
        self._used = self._computed()
        self._began = time.monotonic()

    def remaining(self) -> float:
        """Return the minimum number of seconds until the deadline; 0 once it is reached."""
        computed, passed = self._computed() - self._used, time.monotonic() - self._began
        remaining = min(self._seconds - computed, self._seconds * _STRETCH - passed)
        return max(remaining, _LEAST_WAIT) if remaining > 0 else 0

    def _computed(self) -> float:
        """Return the child's processor time; without /proc, wall time counts."""
        try:
            with open(self._stat, "rb") as file:  # noqa: PTH123 - pathlib costs as much as all of a short call
                fields = file.read().rpartition(b")")[2].split()
        except FileNotFoundError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) * _TICK


def _await(descriptor: int, events: int, deadline: _Deadline) -> None:
    poll = select.poll()
    poll.register(descriptor, events)
    while not poll.poll(deadline.remaining() * 1000):
        if not deadline.remaining():
            raise TimeoutError
