"""The contents of many files of the state root, with few hops to a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kheish.errors import FileRefused
from kheish.store import door

#: files and bytes that are read in one go
_FILES, _BYTES = 500, 8 * 1024 * 1024

#: None: the file is missing
Content = bytes | FileRefused | OSError | None


async def each(root: Path, paths: Sequence[str], *, most: int = door.MOST) -> AsyncIterator[tuple[str, Content]]:
    """Yield each path with its content, or with the error for a file that is not read."""
    at = 0
    while at < len(paths):
        found = await asyncio.to_thread(read, root, paths[at : at + _FILES], most=most)
        for content in found:
            yield paths[at], content
            at += 1


def read(root: Path, paths: Sequence[str], *, most: int = door.MOST) -> list[Content]:
    """Return the contents of the first of these files, at least one. Blocks on disk."""
    contents, total = list[Content](), 0
    for path in paths[:_FILES]:
        content = _content(root, path, most)
        contents.append(content)
        total += len(content) if isinstance(content, bytes) else 0
        if total >= _BYTES:
            break
    return contents


def _content(root: Path, path: str, most: int) -> Content:
    try:
        return door.read(root, path, most=most)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (FileRefused, OSError) as error:
        return error
