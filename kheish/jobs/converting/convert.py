"""Convert a file in a child that is confined by bubblewrap where that works: without network, other files, or writing.

The child reads the file from its standard input, so that nothing of the state root is visible to it. It is a new
process each time: what one hostile file did to it reaches no other file. *Rejected:* the pool of `jobs/confined.py`,
whose children live on, are not sealed off from the disk, and have another limit of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.jobs import sandbox
from kheish.jobs.converting import limits
from kheish.jobs.converting.child import HEAD

_PACKAGE = Path(__file__).parents[2]
_START = "import sys; sys.path.append(sys.argv[1]); from kheish.jobs.converting import child; child.main()"
_MOST = limits.TEXT_BYTES + limits.IMAGE_BYTES + limits.HEAD_BYTES + HEAD.size
_CHUNK = 1 << 20
_SIGNALS = {
    signal.SIGXCPU: f"It was stopped after {limits.CPU_SECONDS} s of processor time.",
    signal.SIGKILL: "The converter was killed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A converted image."""

    content: bytes
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The result of a conversion. Without text, `why` has the reason."""

    converter: str | None = None
    version: str | None = None
    chars: int = 0
    why: str | None = None
    text: bytes | None = None
    images: tuple[Image, ...] = ()


async def convert(file: int, media_type: str, *, is_confined: bool) -> Conversion:
    """Convert an open file. Whatever happens to the child is the result. Raises OSError if it cannot be started."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="kheish-converting-"))
    try:
        argv = await asyncio.to_thread(_command, folder, media_type, is_confined=is_confined)
        return await _run(argv, file, folder)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _command(folder: Path, media_type: str, *, is_confined: bool) -> Sequence[str]:
    argv = (sys.executable, "-I", "-B", "-c", _START, str(_PACKAGE.parent), media_type)
    if not is_confined:
        return argv
    return sandbox.wrap(argv, workspace=folder, read_only=(_PACKAGE,), repositories=())


async def _run(argv: Sequence[str], file: int, folder: Path) -> Conversion:
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(limits.WALL_SECONDS):
            raw = await _answer(process.stdout)
            code = await process.wait() if raw is not None else None
    except TimeoutError:
        return Conversion(why=f"It was stopped after {limits.WALL_SECONDS:g} s.")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()  # an end is not seen before what was written is read
    if raw is None:
        return Conversion(why="The converter wrote more than it may.")
    if code:
        return Conversion(why=_ended(code))
    return _read(raw)


async def _answer(stream: asyncio.StreamReader) -> bytes | None:
    """Return everything that the child writes; None if it is too much."""
    pieces, size = list[bytes](), 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > _MOST:
            return None
        pieces.append(chunk)
    return b"".join(pieces)


def _ended(code: int) -> str:
    number = -code if code < 0 else code - 128 if code > 128 else 0  # bubblewrap returns 128 and the signal
    with contextlib.suppress(ValueError):
        name = signal.Signals(number)
        return _SIGNALS.get(name, f"The converter was ended by {name.name}.")
    return f"The converter ended with exit status {code}."


def _read(raw: bytes) -> Conversion:
    """Return the answer of a child, which a hostile file may have written."""
    try:
        size = HEAD.unpack_from(raw)[0]
        if size > limits.HEAD_BYTES:
            raise ValueError("its description is too long")
        head: dict[str, Any] = json.loads(raw[HEAD.size : HEAD.size + size])
        rest = memoryview(raw)[HEAD.size + size :]
        length = int(head.get("text") or 0)
        text = bytes(rest[:length]) if head.get("text") is not None else None
        if text is not None:
            text.decode()
        images, at = list[Image](), length
        for one in head.get("images") or ():
            content = bytes(rest[at : at + int(one["bytes"])])
            at += len(content)
            images.append(_image(one, content))
        return Conversion(
            converter=_short(head.get("converter")),
            version=_short(head.get("version")),
            chars=len(text.decode()) if text is not None else 0,
            why=_short(head.get("why"), limits.WHY_CHARACTERS),
            text=text,
            images=tuple(images),
        )
    except Exception as error:  # noqa: BLE001 - a child that a file took over may answer anything
        return Conversion(why=f"The converter gave no usable answer: {type(error).__name__}.")


def _image(facts: dict[str, Any], content: bytes) -> Image:
    if len(content) != facts["bytes"] or facts["media_type"] not in ("image/png", "image/jpeg"):
        raise ValueError("its image is not what it says")
    return Image(
        content=content, media_type=facts["media_type"], width=int(facts["width"]), height=int(facts["height"])
    )


def _short(value: Any, most: int = 100) -> str | None:
    if value is None:
        return None
    plain = str(value).encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else " " for char in plain)[:most]
