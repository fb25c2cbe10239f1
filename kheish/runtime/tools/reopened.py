"""A second look at files that ripgrep found: opened beneath the workspace, and searched by their descriptors.

ripgrep walks by path, so a folder that a background command swaps for a link in that moment leads it out of the
workspace. What it prints then is not trusted: only which files may match is taken from it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from kheish.runtime.tools import workspace
from kheish.runtime.tools.base import ToolError

AT_ONCE = 200  # descriptors for one process
MOST = 1000  # files in all
_BY_DESCRIPTOR = b"/proc/self/fd/"


def names_of(out: bytes) -> list[str]:
    """The paths that ripgrep printed with `--null`, sorted."""
    return sorted(os.fsdecode(raw).removeprefix("./") for raw in out.split(b"\0")[:-1])


def there(root: Path, folder: str, name: str) -> bool:
    """Whether the path leads to what it says, through folders of the workspace only."""
    path = name if folder == "." else f"{folder}/{name}"
    try:
        with workspace.place(root, path, workspace.Intent.READ) as here:
            os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
            return here.path == path
    except (ToolError, OSError):
        return False


@contextlib.contextmanager
def opened(root: Path, folder: str, names: Sequence[str]) -> Iterator[dict[int, str]]:
    """Regular files by their descriptors; what is none, or lies behind a link, is left out."""
    found: dict[int, str] = {}
    try:
        for name in names:
            path = name if folder == "." else f"{folder}/{name}"
            with contextlib.suppress(ToolError), workspace.open_file(root, path) as (file, where):
                if where == path:
                    found[os.dup(file.fileno())] = name
        yield found
    finally:
        for descriptor in found:
            os.close(descriptor)


def arguments(files: dict[int, str]) -> list[str]:
    """How a program that inherits the descriptors opens these very files."""
    return [f"{_BY_DESCRIPTOR.decode()}{descriptor}" for descriptor in files]


def named(out: bytes, files: dict[int, str], *, separator: bytes) -> bytes:
    """Output whose records begin with `/proc/self/fd/N` and NUL, with the names instead, in the order of the names."""
    records: dict[int, list[bytes]] = {descriptor: [] for descriptor in files}
    for record in out.split(separator):
        if record.startswith(_BY_DESCRIPTOR):
            number, mark, rest = record[len(_BY_DESCRIPTOR) :].partition(b"\0")
            if number.isdigit() and int(number) in records:
                records[int(number)].append(os.fsencode(files[int(number)]) + mark + rest)
    return b"".join(record + separator for found in records.values() for record in found)
