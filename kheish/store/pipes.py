"""A child process that exchanges frames: length-prefixed JSON on its stdin and stdout.

A request is `{"id": 7, "op": "commit", …}` and its answer `{"id": 7, "ok": …}` or `{"id": 7, "error": {name, detail}}`;
`id` 0 requests no answer. Unrequested messages of the child are `{"notice": "name", …}`. Bytes travel as `{"$bytes":
base64}`.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import select
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from kheish import errors

if TYPE_CHECKING:
    import asyncio  # the daemon's half imports it where it uses it: the children have no loop, and it is 4 MB

_HEAD = struct.Struct(">I")
_CHUNK = 1 << 18

Notice = Callable[[dict[str, Any]], None]
Handler = Callable[..., Any]


class ChildGone(errors.Unavailable):
    """The error that the child process ended before it answered; the request may or may not have been carried out."""

    code, domain, title = "child_gone", "daemon", "A helper process ended"


class ChildFailed(errors.KheishError):
    """The error that the child's handler raised something other than a Kheish error; the detail has it."""

    code, domain, title = "child_failed", "daemon", "A helper process failed"


def encode(frame: Mapping[str, Any]) -> bytes:
    """Return a frame as bytes, with its length before it."""
    body = orjson.dumps(frame, default=_pack)
    return _HEAD.pack(len(body)) + body


def unpack(value: Any) -> bytes:
    """Return the bytes of a text (UTF-8) or of a packed `{"$bytes": …}`."""
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value["$bytes"])


def _pack(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _error(error: Mapping[str, str], name: str) -> errors.KheishError:
    """Return the error that the child reported, in its own class if it is a Kheish error."""
    cls = getattr(errors, error["name"], None)
    if isinstance(cls, type) and issubclass(cls, errors.KheishError):
        return cls(error["detail"])
    return ChildFailed(f"{name}: {error['name']}: {error['detail']}")


class Child:
    """A child process, at most one at a time: `start`, `request`, `send_nowait`, `respawn`, `close`.

    `args` is the command line. `on_notice` is called on the event loop with each unrequested frame. The child gets its
    own session (the daemon handles a Ctrl-C at the terminal) and no descriptor but stdin, stdout and stderr.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        on_notice: Notice | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.args = list(args)
        self.name = " ".join(self.args[1:3]) or self.args[0]
        self._notice = on_notice
        self._env = dict(env) if env is not None else None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Return whether frames can be sent."""
        return self._reader is not None and not self._reader.done()

    @property
    def pid(self) -> int | None:
        """The process id of the running child."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process. Raises OSError if it cannot be started."""
        import asyncio

        self._process = await asyncio.create_subprocess_exec(
            *self.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            close_fds=True,
            start_new_session=True,
            env=self._env,
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def request(self, op: str, **payload: Any) -> Any:
        """Send a request, and return the answer. Raises ChildGone, ChildFailed, or the error that the handler
        raised."""
        import asyncio

        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            process = self._write({"id": number, "op": op, **payload})
            with contextlib.suppress(ConnectionError):  # the reader detects the end, and fails all waiters
                assert process.stdin is not None
                await process.stdin.drain()
            return await future
        finally:
            self._waiting.pop(number, None)

    def send_nowait(self, op: str, **payload: Any) -> None:
        """Send a request without waiting for an answer; a failure comes back as the notice `failed`. Raises
        ChildGone."""
        self._write({"id": 0, "op": op, **payload})

    async def respawn(self) -> None:
        """End the old process if it is left, and start a new one."""
        await self.close(grace=0.0)
        await self.start()

    async def close(self, grace: float = 10.0) -> None:
        """Close the child's pipe, wait `grace` seconds for it to finish its work, then kill it."""
        import asyncio

        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(reader), grace)
        except TimeoutError:
            if process.returncode is None:  # not `process.kill`: it reaps, and asyncio then loses the exit status
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await reader
        self._process = self._reader = None

    def _write(self, frame: dict[str, Any]) -> asyncio.subprocess.Process:
        process = self._process
        # The pipe of a killed child closes before its exit status is known.
        if process is None or not self.alive or process.stdin is None or process.stdin.is_closing():
            raise ChildGone(f"{self.name} is not running.")
        process.stdin.write(encode(frame))
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        import asyncio

        stream = process.stdout
        assert stream is not None
        try:
            while True:
                size = _HEAD.unpack(await stream.readexactly(_HEAD.size))[0]
                self._take(orjson.loads(await stream.readexactly(size)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # its end of the pipe is closed
        finally:
            code = await process.wait()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChildGone(f"{self.name} ended with {code} before it answered."))

    def _take(self, frame: dict[str, Any]) -> None:
        if "notice" in frame:
            if self._notice is not None:
                self._notice(frame)
            return
        future = self._waiting.get(frame["id"])
        if future is None or future.done():
            return
        if "error" in frame:
            future.set_exception(_error(frame["error"], self.name))
        else:
            future.set_result(frame["ok"])


class Parent:
    """The child's side. stdin and stdout belong to the frames; a stray `print` goes to stderr."""

    def __init__(self) -> None:
        self._in = os.dup(0)
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._buffer = bytearray()

    def notify(self, notice: str, **payload: Any) -> None:
        """Send a notice."""
        self.send({"notice": notice, **payload})

    def send(self, frame: Mapping[str, Any]) -> None:
        """Write a frame. Raises BrokenPipeError if the parent is gone."""
        data = memoryview(encode(frame))
        while data:
            data = data[os.write(self._out, data) :]

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """Return the next frame; None after `timeout` seconds without one. Raises EOFError when the pipe is closed."""
        while True:
            buffer = self._buffer
            if len(buffer) >= _HEAD.size:
                end = _HEAD.size + _HEAD.unpack_from(buffer)[0]
                if len(buffer) >= end:
                    frame: dict[str, Any] = orjson.loads(memoryview(buffer)[_HEAD.size : end])
                    self._buffer = buffer[end:]
                    return frame
            if timeout is not None and not select.select([self._in], [], [], timeout)[0]:
                return None
            chunk = os.read(self._in, _CHUNK)
            if not chunk:
                raise EOFError
            buffer += chunk


def serve(
    handlers: Mapping[str, Handler],
    *,
    parent: Parent | None = None,
    idle: Callable[[], float | None] | None = None,
    wind: Callable[[], None] | None = None,
) -> None:
    """Answer requests one after another until the pipe closes.

    `idle` is called whenever no frame waits. It does the work that is due, and returns the seconds until it must be
    called again (None: after the next frame). `wind` is called before each request and each `idle`
    (`stuck.Watch.wind`).
    """
    parent = parent or Parent()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            if wind is not None:
                wind()
            frame = parent.receive(0.0)
            if frame is None:
                wait = idle() if idle is not None else None
                frame = parent.receive(wait)
            if frame is not None:
                _answer(parent, handlers, frame)


def _answer(parent: Parent, handlers: Mapping[str, Handler], frame: dict[str, Any]) -> None:
    number, op = frame.pop("id"), frame.pop("op")
    try:
        reply = {"id": number, "ok": handlers[op](**frame)}
    except Exception as error:  # noqa: BLE001 - the rim of the child: the parent decides
        fault = {"name": type(error).__name__, "detail": str(error)}
        if number == 0:
            parent.notify("failed", op=op, error=fault)
        reply = {"id": number, "error": fault}
    if number != 0:
        parent.send(reply)
