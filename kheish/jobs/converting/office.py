"""Documents of office programs and e-books as text, by xberg (`kheish[documents]`), once they were unpacked for their
size."""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from typing import Any

from kheish.jobs.converting.limits import ENTRIES, UNPACKED, Refused

NAME = "xberg"
MISSING = "Text of this type needs the extra kheish[documents], which is not installed."
_CHUNK = 1 << 20


def is_installed() -> bool:
    """Return whether the extra is installed."""
    return find_spec(NAME) is not None


def convert(raw: bytes, media_type: str) -> tuple[str, str]:
    """Return the text of a document, and the version of the library. Raises Refused."""
    check_archive(raw)
    if not is_installed():
        raise Refused(MISSING)
    import asyncio

    import xberg

    given = xberg.ExtractInput(kind=xberg.ExtractInputKind.BYTES, bytes=raw, mime_type=media_type)
    config = xberg.ExtractionConfig(use_cache=False, disable_ocr=True)

    async def extract() -> Any:
        return await xberg.extract(given, config)

    found = asyncio.run(extract())
    if not found.results:
        raise Refused(f"It cannot be read: {'; '.join(map(str, found.errors)) or 'no content was found'}")
    text = "\n\n".join(str(one.content) for one in found.results)
    if not text.strip():
        raise Refused("It has no text.")
    return text, str(xberg.__version__)


def check_archive(raw: bytes) -> None:
    """Check how many entries an archive has, and unpack each once without keeping it: the sizes that it states may be
    wrong. Raises Refused."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            if len(entries) > ENTRIES:
                raise Refused(f"The archive has {len(entries)} entries; at most {ENTRIES} are unpacked.")
            if (stated := sum(entry.file_size for entry in entries)) > UNPACKED:
                raise Refused(_too_large(stated))
            total = 0
            for entry in entries:
                with archive.open(entry) as file:
                    while chunk := file.read(_CHUNK):
                        total += len(chunk)
                        if total > UNPACKED:
                            raise Refused(_too_large(total))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise Refused(f"The archive cannot be read: {error}") from error


def _too_large(size: int) -> str:
    return f"The archive unpacks to {size} bytes; at most {UNPACKED} are unpacked."
