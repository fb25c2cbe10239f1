"""Looking at files: `read_file` and `list_files`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import Field

from kheish.runtime.tools import cut, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError

_BUDGET = 60 * 1024  # bytes of text in one answer, below the tool's limit
_LINE_BYTES = 8192  # of a line are kept; the rest is counted
_LINE_SHOWN = 2000  # characters
_COUNTED = 64 * 1024 * 1024  # larger files are not read to their end just to count lines
_MAX_ENTRIES = 500
#: folders that hold what others made; listed, but not gone into
HEAPS = frozenset({".git", "node_modules", ".venv", "__pycache__"})

_Path = Annotated[str, Field(description="Path of the file, relative to the workspace (or absolute inside it).")]


class ReadFile(Arguments):
    path: _Path
    offset: int = Field(1, ge=1, description="First line to read, counted from 1.")
    limit: int = Field(2000, ge=1, le=5000, description="How many lines to read at most.")


class ListFiles(Arguments):
    path: str = Field(".", description="Folder to list, relative to the workspace.")
    depth: int = Field(1, ge=1, le=6, description="How many levels of folders to go down; 1 is the folder alone.")


@dataclass(slots=True)
class _Window:
    """The lines that were asked for, gathered in one pass over the file."""

    first: int
    limit: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    total: int = 0
    lossy: bool = False
    crlf: bool = False

    def add(self, raw: bytes, dropped: int) -> None:
        self.total += 1
        if self.full or self.total < self.first:
            return
        self.crlf = self.crlf or raw.endswith(b"\r\n")
        body = raw.rstrip(b"\r\n")
        text = body.decode("utf-8", "replace")
        self.lossy = self.lossy or (not dropped and "\ufffd" in text)
        shown = f"{self.total:>6}\t{cut.line(text, _LINE_SHOWN, more=dropped)}"
        self.size += len(shown.encode()) + 1
        if self.size <= _BUDGET or not self.lines:
            self.lines.append(shown)

    @property
    def full(self) -> bool:
        return len(self.lines) >= self.limit or self.size > _BUDGET


async def _read(arguments: ReadFile, context: Context) -> Result:
    return await asyncio.to_thread(_read_now, arguments, context.workspace)


def _read_now(arguments: ReadFile, root: Path) -> Result:
    with workspace.open_file(root, arguments.path) as (file, path):
        size = os.fstat(file.fileno()).st_size
        if b"\0" in file.peek(8192)[:8192]:  # type: ignore[attr-defined]  # a BufferedReader has it
            return Result(
                content=f"{path} is a binary file of {size} bytes; it is not shown.",
                detail={"path": path, "bytes": size, "binary": True},
            )
        window = _Window(first=arguments.offset, limit=arguments.limit)
        digest = _scan(file, window, size)
    if digest and window.total < arguments.offset and arguments.offset > 1:
        raise ToolError(f"{path}: has {window.total} lines; offset {arguments.offset} is after the end.")
    if not window.lines:
        return Result(content=f"{path} is empty.", detail={"path": path, "bytes": size, "sha256": digest})
    last = window.first + len(window.lines) - 1
    notes = _footer(window, last, digest)
    return Result(
        content="\n".join([*window.lines, "", notes]),
        detail={
            "path": path,
            "bytes": size,
            "first_line": window.first,
            "last_line": last,
            "total_lines": window.total if digest else None,
            "sha256": digest,
        },
    )


def _scan(file: BinaryIO, window: _Window, size: int) -> str | None:
    """Fill the window; the file's sha256 where it was read to its end, else None."""
    digest = hashlib.sha256()
    for raw, dropped in _raw_lines(file, digest.update):
        window.add(raw, dropped)
        if window.full and size > _COUNTED:
            return None
    return digest.hexdigest()


def _raw_lines(file: BinaryIO, seen: Callable[[bytes], object]) -> Generator[tuple[bytes, int], None, None]:
    """Each line's first bytes, and how many bytes of it were passed over."""
    while raw := file.readline(_LINE_BYTES):
        seen(raw)
        dropped = 0
        end = raw
        while not end.endswith(b"\n") and (end := file.readline(_LINE_BYTES)):
            seen(end)
            dropped += len(end.rstrip(b"\r\n"))
        yield raw, dropped


def _footer(window: _Window, last: int, digest: str | None) -> str:
    if digest is None:
        notes = [f"lines {window.first} to {last}; the file goes on. Read on with offset={last + 1}"]
    elif last < window.total:
        notes = [f"lines {window.first} to {last} of {window.total}. Read on with offset={last + 1}"]
    elif window.first > 1:
        notes = [f"lines {window.first} to {last} of {window.total}, the end of the file"]
    else:
        notes = [f"{window.total} line{'s' if window.total != 1 else ''}, the whole file"]
    if digest:
        notes.append(f"sha256 {digest[:12]}")
    if window.crlf:
        notes.append("lines end in CRLF")
    if window.lossy:
        notes.append("not all of it is UTF-8; � stands for what is not")
    return f"[{'; '.join(notes)}]"


async def _list(arguments: ListFiles, context: Context) -> Result:
    return await asyncio.to_thread(_list_now, arguments, context.workspace)


def _list_now(arguments: ListFiles, root: Path) -> Result:
    with workspace.open_folder(root, arguments.path) as (folder, path):
        entries = _entries(folder, "", arguments.depth)
        lines = [entry for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False)]
        cut_off = next(entries, None) is not None
        entries.close()
    head = f"{path}:" if lines else f"{path} is empty."
    if cut_off:
        lines.append(f"[cut after {_MAX_ENTRIES} entries; list a folder below, or use glob_search]")
    text = cut.middle("\n".join([head, *lines]), _BUDGET, advice="list a folder below")
    return Result(content=text, detail={"path": path, "cut": cut_off})


def _entries(folder: int, prefix: str, depth: int) -> Generator[str, None, None]:
    """Lines for a folder and what is below it, folders first at each level."""
    with os.scandir(folder) as found:
        children = sorted(found, key=lambda entry: (not entry.is_dir(follow_symlinks=False), entry.name))
    for child in children:
        name = prefix + child.name
        if child.is_symlink():
            yield f"{name} -> {os.readlink(child.name, dir_fd=folder)}"
        elif not child.is_dir(follow_symlinks=False):
            yield f"{name}{_size(folder, child.name)}"
        elif depth == 1 or child.name in HEAPS:
            yield f"{name}/"
        else:
            yield f"{name}/"
            yield from _below(folder, child.name, name + "/", depth - 1)


def _below(folder: int, name: str, prefix: str, depth: int) -> Generator[str, None, None]:
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        inner = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        yield f"{prefix} [{(error.strerror or str(error)).lower()}]"
        return
    try:
        yield from _entries(inner, prefix, depth)
    finally:
        os.close(inner)


def _size(folder: int, name: str) -> str:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return ""
    return f"  {status.st_size} bytes" if stat.S_ISREG(status.st_mode) else "  (no regular file)"


READ_FILE = Tool(
    name="read_file",
    description=(
        "Read a text file of the workspace. Each line comes as its number, a tab, and its text; the number and the "
        "tab are not part of the file. The last line, in brackets, says how much was shown and how to read on, and "
        "gives the file's sha256 for expected_sha256."
    ),
    arguments=ReadFile,
    effect=Effect.READ,
    replay=Replay.SAFE,
    run=_read,
)

LIST_FILES = Tool(
    name="list_files",
    description=(
        "List a folder of the workspace, hidden files included: folders end in /, files show their size, links their "
        "target. With depth above 1 the folders below are listed too (.git, node_modules, .venv and __pycache__ are "
        "not gone into). To find files by name use glob_search."
    ),
    arguments=ListFiles,
    effect=Effect.READ,
    replay=Replay.SAFE,
    run=_list,
)

TOOLS = (READ_FILE, LIST_FILES)
