"""The process behind `confined.py`: it reads one request after another from stdin and answers on stdout.

A request is a length-prefixed JSON object `{"call": "module:function", "args": […]}`; its answer is `{"ok": value}` or
`{"error": text}`. Bytes travel as `{"$bytes": base64}`.
"""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import struct
import sys
from importlib import import_module
from typing import Any, BinaryIO

import orjson

_HEAD = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_NICE = 5  # the daemon's own work goes first


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
    os.nice(_NICE)
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))


def _answer(request: dict[str, Any]) -> bytes:
    module, _, name = request["call"].partition(":")
    try:
        return frame({"ok": getattr(import_module(module), name)(*map(_unpacked, request["args"]))})
    except MemoryError:
        return frame({"error": "MemoryError: it needs too much memory"})
    except Exception as error:  # noqa: BLE001 - the rim of the process: whatever untrusted input does is the answer
        return frame({"error": f"{type(error).__name__}: {error}"[:2000]})


def frame(content: dict[str, Any]) -> bytes:
    """Return one frame as bytes, with its length before it."""
    body = orjson.dumps(content, default=_packed, option=orjson.OPT_NON_STR_KEYS)
    return _HEAD.pack(len(body)) + body


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """Return the next frame of a stream; None at its end."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    size = _HEAD.unpack(head)[0]
    body = stream.read(size)
    content: dict[str, Any] | None = orjson.loads(body) if len(body) == size else None
    return content


def _packed(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"$bytes"}:
        return base64.b64decode(value["$bytes"])
    return value


if __name__ == "__main__":
    sys.exit(main())
