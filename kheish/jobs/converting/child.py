"""The process behind `convert.py`: it reads one file from stdin, and writes its text and images to stdout.

The answer is a length, a JSON object with the sizes of what follows, and that. Nothing else is written.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from kheish.jobs.converting.limits import CPU_SECONDS, IMAGE_BYTES, MEMORY, TEXT_BYTES, WHY_CHARACTERS, Refused

if TYPE_CHECKING:
    from kheish.jobs.converting.images import Picture

HEAD = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_NICE = 5
_OFFICE = frozenset({
    "application/epub+zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
})  # fmt: skip


def main() -> NoReturn:
    """Convert stdin, a file of the type that the only argument names."""
    _confine()
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not break the answer
    try:
        head, parts = _converted(sys.stdin.buffer.read(), sys.argv[-1])
    except Refused as refused:
        head, parts = {"why": str(refused)}, []
    except MemoryError:
        head, parts = {"why": f"It needs more than {MEMORY // 1024**2} MiB of memory."}, []
    except RecursionError:
        head, parts = {"why": "It is nested too deeply."}, []
    except Exception as error:  # noqa: BLE001 - the rim of the process: whatever an untrusted file does is the answer
        head, parts = {"why": f"It cannot be converted: {type(error).__name__}: {error}"}, []
    head["why"] = (head.get("why") or "")[:WHY_CHARACTERS] or None
    encoded = json.dumps(head).encode()
    for piece in (HEAD.pack(len(encoded)), encoded, *parts):
        answers.write(piece)
    answers.flush()
    os._exit(0)  # threads of a converter may abort an interpreter that ends by itself, after all is said


def _confine() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.nice(_NICE)
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (most, most))
    # At the first limit the signal tells why; at the second it could not be ignored.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))


def _converted(raw: bytes, media_type: str) -> tuple[dict[str, Any], list[bytes]]:
    if media_type.startswith("image/") and media_type != "image/svg+xml":
        return _pictured(raw, media_type)
    found, by, version, why = _text(raw, media_type)
    encoded = found.encode("utf-8", "replace")
    if len(encoded) > TEXT_BYTES:
        encoded = encoded[:TEXT_BYTES].decode("utf-8", "ignore").encode()
        why = " ".join(filter(None, [why, f"Only the first {TEXT_BYTES} bytes of the text are kept."]))
    return {"converter": by, "version": version, "text": len(encoded), "why": why}, [encoded]


def _text(raw: bytes, media_type: str) -> tuple[str, str, str, str | None]:
    """Return the text, its converter with its version, and what is missing. Each converter is imported alone."""
    by, version = "python", platform.python_version()
    if media_type == "application/pdf":
        from kheish.jobs.converting import pdf

        found, version, why = pdf.convert(raw)
        return found, pdf.NAME, version, why
    if media_type in _OFFICE:
        from kheish.jobs.converting import office

        found, version = office.convert(raw, media_type)
        return found, office.NAME, version, None
    if media_type in ("text/html", "application/xhtml+xml"):
        from kheish.jobs.converting import html

        found, why = html.convert(raw)
        return found, by, version, why
    if media_type == "message/rfc822":
        from kheish.jobs.converting import mail

        found, why = mail.convert(raw)
        return found, by, version, why
    from kheish.jobs.converting import text

    return text.decode(raw), by, version, None


def _pictured(raw: bytes, media_type: str) -> tuple[dict[str, Any], list[bytes]]:
    from kheish.jobs.converting import images

    version, *pictures = images.convert(raw, media_type)
    if sum(len(one.content) for one in pictures) > IMAGE_BYTES:
        raise Refused(f"The image has more than {IMAGE_BYTES} bytes without its metadata.")
    facts = [_facts(one) for one in pictures]
    why = "An image has no text; models that accept images see it."
    return {"converter": images.NAME, "version": version, "images": facts, "why": why}, [
        one.content for one in pictures
    ]


def _facts(picture: Picture) -> dict[str, Any]:
    return {
        "bytes": len(picture.content),
        "media_type": picture.media_type,
        "width": picture.width,
        "height": picture.height,
    }


if __name__ == "__main__":
    main()
