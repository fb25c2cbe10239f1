"""The process behind `confined.py`. It reads requests one after another from stdin and answers on stdout.

A request is a length-prefixed JSON object `{"call": "module:function", "args": […]}`. Its answer is `{"ok": value}` or
`{"error": text}`. Bytes follow the object unencoded, and `{"$bytes": size}` stands in their place: Base64 would hold
the daemon's interpreter lock for 10 ms per MiB.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any, BinaryIO

import orjson

_HEAD = struct.Struct(">II")  # bytes of the object, and of the bytes after it
_PR_SET_PDEATHSIG = 1
_NICE = 5  # the daemon's own work goes first
#: Linux divides the processors among sessions first: in a separate session, the nice value has no effect
_GROUP = "/proc/self/autogroup"
_TRIES, _PAUSE = 3, 0.11  # the kernel accepts one such change per 0.1 s from all unprivileged processes together


def main() -> int:
    """Answer requests until stdin ends."""
    _confine(int(sys.argv[1]))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not break a frame
    while (request := read(requests)) is not None:
        answers.write(_answer(request))
        answers.flush()
    return 0


def _confine(memory: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _yield_group(os.nice(_NICE))
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))


def _yield_group(niceness: int) -> None:
    """Give the session of this process the nice value of the process; not every kernel has groups of sessions."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            _write_group(niceness)
            return
        time.sleep(_PAUSE)


def _write_group(niceness: int) -> None:
    try:
        with open(_GROUP, "w") as file:  # noqa: PTH123 - pathlib costs 10 ms
            file.write(str(niceness))
    except BlockingIOError:
        raise
    except OSError:
        pass  # this kernel has none, or we may not change them


def _answer(request: dict[str, Any]) -> bytes:
    module, _, name = request["call"].partition(":")
    try:
        return b"".join(frame({"ok": getattr(import_module(module), name)(*request["args"])}))
    except MemoryError:
        return b"".join(frame({"error": "MemoryError: it needs too much memory"}))
    except Exception as error:  # noqa: BLE001 - the rim of the process: whatever untrusted input does is the answer
        return b"".join(frame({"error": f"{type(error).__name__}: {error}"[:2000]}))


def frame(content: dict[str, Any]) -> tuple[bytes, ...]:
    """Return a frame in pieces: its sizes, the object, and the bytes after it."""
    blobs: list[bytes] = []

    def pack(value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            blobs.append(bytes(value))
            return {"$bytes": len(blobs[-1])}
        raise TypeError(f"{type(value).__name__} cannot be sent")

    body = orjson.dumps(content, default=pack, option=orjson.OPT_NON_STR_KEYS)
    return _HEAD.pack(len(body), sum(map(len, blobs))), body, *blobs


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """Return the next request of a stream; None at its end."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size, more = _HEAD.unpack(head)
    body = stream.read(size)
    blobs = memoryview(stream.read(more))
    if len(body) != size or len(blobs) != more:
        return None
    content: dict[str, Any] = orjson.loads(body)
    args = []
    for value in content["args"]:  # bytes are whole arguments, never nested
        if isinstance(value, dict) and value.keys() == {"$bytes"}:
            args.append(bytes(blobs[: value["$bytes"]]))
            blobs = blobs[value["$bytes"] :]
        else:
            args.append(value)
    return {**content, "args": args}


if __name__ == "__main__":
    sys.exit(main())
