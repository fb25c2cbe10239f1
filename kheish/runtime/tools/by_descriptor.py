"""A second search of the files that ripgrep reported: opened beneath the workspace, and searched by their descriptors.

ripgrep walks by path, so a folder that a background command swaps for a link in that moment leads it out of the
workspace. Its output is not trusted: only the names of possibly matching files are taken from it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Sequence

from kheish.beneath import Door, files, names, pool, walk
from kheish.beneath.door import Root, opened
from kheish.errors import NotBeneath

AT_ONCE = 200  # descriptors for one process
MOST = 1000  # files in all
_BY_DESCRIPTOR = b"/proc/self/fd/"


def names_of(out: bytes) -> list[str]:
    """Return the paths that ripgrep printed with `--null`, sorted."""
    return sorted(os.fsdecode(raw).removeprefix("./") for raw in out.split(b"\0")[:-1])


def those_there(door: Door, folder: str, found: Iterable[str], most: int) -> list[str]:
    """Return the first names that resolve to themselves, through folders of the workspace only."""
    with opened(door.judging({})) as root:
        return list(itertools.islice((name for name in found if _is_there(root, _path(folder, name))), most))


def _is_there(root: Root, path: str) -> bool:
    pool.check()
    try:
        with walk.place(root, path) as here:
            status = os.stat(here.name, dir_fd=here.folder, follow_symlinks=False)
            root.check(status, path)
            return here.path == path.removeprefix("./")
    except (NotBeneath, OSError):
        return False


def _path(folder: str, name: str) -> str:
    return names.as_path(name) if folder == "." else f"{folder}/{names.shown(name)}"


def by_descriptor(door: Door, folder: str, found: Sequence[str]) -> dict[int, str]:
    """Open regular files; others, and files behind a link, are omitted. The caller closes them."""
    descriptors: dict[int, str] = {}
    try:
        with opened(door.judging({})) as root:
            for name in found:
                pool.check()
                path = _path(folder, name)
                with contextlib.suppress(NotBeneath, OSError), files.open_file(root, path) as (file, where):
                    if where == path.removeprefix("./"):
                        descriptors[os.dup(file.fileno())] = name
    except BaseException:
        close(descriptors)
        raise
    return descriptors


def close(descriptors: Iterable[int]) -> None:
    """Close the descriptors."""
    for descriptor in descriptors:
        os.close(descriptor)


def arguments(descriptors: Iterable[int]) -> list[str]:
    """Return the arguments by which a program that inherits the descriptors opens these very files."""
    return [f"{_BY_DESCRIPTOR.decode()}{descriptor}" for descriptor in descriptors]


def named(out: bytes, found: dict[int, str], *, separator: bytes) -> bytes:
    """Return output whose records begin with `/proc/self/fd/N` and NUL, with the names instead, in their order."""
    records: dict[int, list[bytes]] = {descriptor: [] for descriptor in found}
    for record in out.split(separator):
        if record.startswith(_BY_DESCRIPTOR):
            number, mark, rest = record[len(_BY_DESCRIPTOR) :].partition(b"\0")
            if number.isdigit() and int(number) in records:
                name = os.fsencode(found[int(number)])
                if separator == b"\n":
                    name = name.replace(b"\n", b"//")  # no path has `//`
                records[int(number)].append(name + mark + rest)
    return b"".join(record + separator for ordered in records.values() for record in ordered)
