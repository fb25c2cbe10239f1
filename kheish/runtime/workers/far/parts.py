"""Files that arrive in parts."""

from __future__ import annotations

from pathlib import Path

from kheish.errors import Invalid


def put(path: Path, offset: int, data: bytes, *, most: int, too_large: str) -> None:
    """Store a part of a file that arrives; a part that is sent again replaces what follows its position.

    Blocks on disk. Raises Invalid with the text `too_large` if the file would have more than `most` bytes.
    """
    if offset + len(data) > most:
        raise Invalid(too_large)
    with path.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.truncate()
        file.write(data)
