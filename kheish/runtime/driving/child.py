"""A driver process, `python -m kheish.runtime.driving.child`: it runs the daemon's model calls with the same drivers.

Its standard input and output carry frames (`store/pipes.py`): `complete` with a request, whose credential is in no
other place; `cancel` and `ping`. Text goes back in the notice `stream`, in batches. A write to the daemon blocks all
calls of this process: a daemon that is behind makes it read its servers more slowly, and nothing queues up. The process
ends with its standard input, so that it never outlives the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from typing import Any

from kheish.runtime.debug import wire
from kheish.runtime.drivers import registry
from kheish.runtime.drivers.base import ModelError
from kheish.runtime.driving import documents
from kheish.store.pipes import Parent

#: seconds for which text is gathered, and the characters that are sent at once
_GATHERED = 0.02
_BATCH = 16 * 1024


class _Stream:
    """The text of one call, and its exchange with the server if the daemon captures it, on the way to the daemon."""

    def __init__(self, process: _Process, call: int) -> None:
        self._process = process
        self._call = call
        self._texts: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """Add text of the answer."""
        self._texts.append(text)
        self._size += len(text)
        if self._size >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHERED, self.flush)

    def flush(self) -> None:
        """Send the text that was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._texts:
            self._process.notify("stream", call=self._call, text="".join(self._texts))
            self._texts.clear()
            self._size = 0


class _Captured(wire.Exchange):
    """An exchange that is captured by the daemon: nothing of it is held here."""

    __slots__ = ("_call", "_process")

    def __init__(self, process: _Process, call: int) -> None:
        super().__init__()
        self._process = process
        self._call = call

    def sent(self, raw: bytes) -> None:
        """Pass a request on."""
        self._process.notify("wire", call=self._call, sent=raw)

    def got(self, raw: bytes) -> None:
        """Pass a piece of an answer on."""
        self._process.notify("wire", call=self._call, got=raw)


class _Process:
    """The calls of this process."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._preparing: asyncio.Task[None] | None = None

    def notify(self, notice: str, **payload: Any) -> None:
        """Send a notice to the daemon."""
        self._send({"notice": notice, **payload})

    def take(self, frame: dict[str, Any]) -> None:
        """Serve a request of the daemon."""
        match frame["op"]:
            case "complete":
                self._calls[frame["call"]] = asyncio.get_running_loop().create_task(self._complete(frame))
            case "prepare":
                self._preparing = asyncio.get_running_loop().create_task(self._prepare(frame))
            case "cancel":
                if frame["call"] in self._calls:
                    self._calls[frame["call"]].cancel()
            case "ping":
                self._send({"id": frame["id"], "ok": None})

    async def _prepare(self, frame: dict[str, Any]) -> None:
        try:
            driver = await registry.get(frame["driver"])
            await driver.prepare()
            self._send({"id": frame["id"], "ok": None})
        except Exception as error:  # noqa: BLE001 - the rim of the process: the first call reports it, too
            self._send({"id": frame["id"], "error": {"name": type(error).__name__, "detail": str(error)}})

    async def _complete(self, frame: dict[str, Any]) -> None:
        number, call = frame["id"], frame["call"]
        stream = _Stream(self, call)
        try:
            with wire.captured(_Captured(self, call)) if frame["captured"] else contextlib.nullcontext():
                driver = await registry.get(frame["driver"])
                reply = await driver.complete(documents.to_request(frame["request"]), stream.add)
            answer = {"id": number, "ok": {"reply": documents.of_reply(reply)}}
        except ModelError as error:
            answer = {"id": number, "ok": {"error": documents.of_error(error)}}
        except Exception as error:  # noqa: BLE001 - the rim of the process: the daemon decides
            answer = {"id": number, "error": {"name": type(error).__name__, "detail": str(error)}}
        finally:
            del self._calls[call]
            stream.flush()
        self._send(answer)

    def _send(self, frame: dict[str, Any]) -> None:
        try:
            self._parent.send(frame)
        except BrokenPipeError:
            os._exit(0)  # the daemon is gone
        except TypeError as error:  # a value that JSON does not have
            if "id" not in frame:
                raise
            self._parent.send({"id": frame["id"], "error": {"name": "TypeError", "detail": str(error)}})


class _Logged(logging.Handler):
    """A handler that passes warnings to the daemon, whose log removes secrets."""

    def __init__(self, process: _Process, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._process = process
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on, from whatever thread."""
        told = {"level": record.levelno, "name": record.name, "text": self.format(record)}
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._process.notify("log", **told))


async def _serve(parent: Parent) -> None:
    loop = asyncio.get_running_loop()
    process = _Process(parent)
    logging.basicConfig(handlers=[_Logged(process, loop)], level=logging.WARNING)

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while (frame := parent.receive(None)) is not None:
                loop.call_soon_threadsafe(process.take, frame)
        os._exit(0)  # even if the loop is blocked: whatever it does, the daemon has given it up

    threading.Thread(target=listen, daemon=True).start()
    await loop.create_future()


def main() -> None:
    """Serve until standard input is closed."""
    import uvloop

    uvloop.run(_serve(Parent()))


if __name__ == "__main__":
    main()
