"""One small call per ability of a model: what to ask, and whether the answer shows it."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from kheish.runtime.drivers.base import Image, Message, Reply, ToolSpec

_WORD = "kheish"
_COUNT = "Write the numbers from one to twelve in words, separated by spaces, and nothing else."
_TOOL = ToolSpec(
    name="report",
    description="Report a word.",
    parameters={
        "type": "object",
        "properties": {"word": {"type": "string", "description": "The word to report."}},
        "required": ["word"],
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An answer, and the pieces in which its text came."""

    reply: Reply
    pieces: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A call, and the fault of its answer (None: it shows the ability)."""

    ability: str
    message: Message
    fault: Callable[[Seen], str | None]
    tools: tuple[ToolSpec, ...] = ()
    stream: bool = False


def _text(seen: Seen) -> str | None:
    return None if _WORD in seen.reply.text.lower() else f"it answered {seen.reply.text[:80]!r}"


def _streaming(seen: Seen) -> str | None:
    return None if seen.pieces > 1 else "the text came in one piece"


def _tools(seen: Seen) -> str | None:
    if not seen.reply.calls:
        return f"it called no tool, and answered {seen.reply.text[:80]!r}"
    call = seen.reply.calls[0]
    if call.name != _TOOL.name or call.malformed is not None:
        return f"it called {call.name[:40]!r} with arguments that are no JSON object"
    return None if call.arguments.get("word") == _WORD else f"it called the tool with {str(call.arguments)[:80]}"


def _vision(seen: Seen) -> str | None:
    return None if "red" in seen.reply.text.lower() else f"it saw {seen.reply.text[:80]!r} in a red image"


def red_image(size: int = 64) -> Image:
    """Return a red square as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return Image(media_type="image/png", data=base64.b64encode(raw).decode())


PROBES = (
    Probe(ability="text", message=Message(role="user", text=f"Answer with the word {_WORD} only."), fault=_text),
    Probe(ability="streaming", message=Message(role="user", text=_COUNT), fault=_streaming, stream=True),
    Probe(
        ability="tools",
        message=Message(role="user", text=f"Call the tool report with the word {_WORD}."),
        fault=_tools,
        tools=(_TOOL,),
    ),
    Probe(
        ability="vision",
        message=Message(role="user", text="Which colour has this image? Answer with one word.", _images=(red_image(),)),
        fault=_vision,
    ),
)
