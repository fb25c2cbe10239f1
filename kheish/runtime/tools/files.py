"""File reading: `read_file` and `list_files`."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Annotated, Any, BinaryIO

from pydantic import Field

from kheish.beneath import Door, files, names, pool
from kheish.beneath.door import Root, opened
from kheish.domain.permissions import rules as permission_rules
from kheish.domain.sessions.session import Session
from kheish.errors import NotBeneath
from kheish.ids import MOST
from kheish.runtime.assets import tool as assets
from kheish.runtime.tools import skills as skill_tools, truncate, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError

_BUDGET = 60 * 1024  # bytes of text in one answer, below the tool's limit
_LINE_BYTES = 8192  # of a line are kept; the rest is counted
_LINE_SHOWN = 2000  # characters of a line that are kept; the rest is counted
_COUNTED = 64 * 1024 * 1024  # larger files are not read to their end just to count lines
_MAX_ENTRIES = 500
_LOOKED_AT = 20_000  # entries of one folder; further ones are not read
_BOM = b"\xef\xbb\xbf"
#: folders of third-party or generated files; listed, but not entered
HEAPS = frozenset({".git", "node_modules", ".venv", "__pycache__"})

#: how every tool shows and parses names that are not plain text
ESCAPED = (
    "A byte of a name that is not UTF-8, and a control character, is written \\xHH, and a backslash before such a "
    "place is doubled; paths are read the same way."
)
_Path = Annotated[str, Field(description="Path of the file, relative to the workspace (or absolute inside it).")]


class ReadFile(Arguments):
    path: _Path
    offset: int = Field(1, ge=1, le=MOST, description="First line to read, counted from 1.")
    limit: int = Field(2000, ge=1, le=5000, description="How many lines to read at most.")


class ListFiles(Arguments):
    path: str = Field(".", description="Folder to list, relative to the workspace.")
    depth: int = Field(1, ge=1, le=6, description="How many levels of folders to go down; 1 is the folder alone.")


@dataclass(slots=True)
class _Window:
    """The requested lines, collected in one pass over the file."""

    first: int
    limit: int
    lines: list[str] = field(default_factory=list)
    size: int = 0
    total: int = 0
    lossy: bool = False
    crlf: bool = False
    bom: bool = False

    def add(self, raw: bytes, dropped: int) -> None:
        self.total += 1
        if self.total == 1 and raw.startswith(_BOM):
            self.bom, raw = True, raw.removeprefix(_BOM)
        if self.full or self.total < self.first:
            return
        self.crlf = self.crlf or raw.endswith(b"\r\n")
        body = raw.rstrip(b"\r\n")
        text = body.decode("utf-8", "replace")
        self.lossy = self.lossy or (not dropped and "\ufffd" in text)
        shown = f"{self.total:>6}\t{truncate.line(text, _LINE_SHOWN, more=dropped)}"
        self.size += len(shown.encode()) + 1
        if self.size <= _BUDGET or not self.lines:
            self.lines.append(shown)

    @property
    def full(self) -> bool:
        return len(self.lines) >= self.limit or self.size > _BUDGET


async def _read(arguments: ReadFile, context: Context) -> Result:
    if arguments.path.startswith(assets.PREFIX):
        raw = await assets.text_of(arguments.path, context)
        file: Any = io.BufferedReader(io.BytesIO(raw))  # type: ignore[arg-type,unused-ignore]  # a raw stream to it
        return await asyncio.to_thread(_read_open, arguments, file, arguments.path, len(raw))
    if not arguments.path.startswith(skill_tools.PREFIX):
        return await workspace.work(context, _read_now, arguments, context.door)
    door, path, _ = await skill_tools.open_door(arguments.path, context)
    session, file = context.state.get(Session, context.session_id), context.state.definitions.permissions
    scopes = permission_rules.scopes(file, session.settings["permission_rules"])
    check = partial(skill_tools.check_denied, scopes, context.workspace)
    return await workspace.work(context, _read_now, arguments.model_copy(update={"path": path}), door, check)


def _read_now(arguments: ReadFile, door: Door, check: Callable[[int, str], None] | None = None) -> Result:
    with files.open_file(door, arguments.path) as (file, path):
        if check is not None:
            check(file.fileno(), path)
        return _read_open(arguments, file, path, os.fstat(file.fileno()).st_size)


def _read_open(arguments: ReadFile, file: BinaryIO, path: str, size: int) -> Result:
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
    """Fill the window; return the file's sha256 if it was read to its end, else None."""
    digest = hashlib.sha256()
    for raw, dropped in _raw_lines(file, digest.update):
        window.add(raw, dropped)
        if window.full and size > _COUNTED:
            return None
    return digest.hexdigest()


def _raw_lines(file: BinaryIO, seen: Callable[[bytes], object]) -> Generator[tuple[bytes, int], None, None]:
    """Yield each line's first bytes, and how many further bytes of it were skipped."""
    while raw := file.readline(_LINE_BYTES):
        pool.check()
        seen(raw)
        dropped = 0
        end = raw
        while not end.endswith(b"\n") and (end := file.readline(_LINE_BYTES)):
            pool.check()
            seen(end)
            dropped += len(end.rstrip(b"\r\n"))
        yield raw, dropped


def _footer(window: _Window, last: int, digest: str | None) -> str:
    if digest is None:
        notes = [f"lines {window.first} to {last}; the file continues. Read on with offset={last + 1}"]
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
    if window.bom:
        notes.append("the file begins with a byte order mark, which is kept")
    if window.lossy:
        notes.append("not all of it is UTF-8; � stands for what is not")
    return f"[{'; '.join(notes)}]"


async def _list(arguments: ListFiles, context: Context) -> Result:
    return await workspace.work(context, _list_now, arguments, context.door)


def _list_now(arguments: ListFiles, door: Door) -> Result:
    with opened(door) as root, files.open_folder(root, arguments.path) as (folder, path):
        entries = _entries(root, folder, "", arguments.depth)
        lines = [entry for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False)]
        cut_off = next(entries, None) is not None
        entries.close()
    head = f"{path}:" if lines else f"{path} is empty."
    if cut_off:
        lines.append(f"[cut after {_MAX_ENTRIES} entries; list a folder below, or use glob_search]")
    text = truncate.middle("\n".join([head, *lines]), _BUDGET, advice="list a folder below")
    return Result(content=text, detail={"path": path, "cut": cut_off})


def _entries(root: Root, folder: int, prefix: str, depth: int) -> Generator[str, None, None]:
    """Yield lines for a folder and its subfolders, folders first at each level."""
    pool.check()
    with os.scandir(folder) as entries:
        children = list(islice(entries, _LOOKED_AT + 1))
    children.sort(key=lambda entry: (not entry.is_dir(follow_symlinks=False), entry.name))
    if len(children) > _LOOKED_AT:
        yield f"{prefix} [more than {_LOOKED_AT} entries; those that are shown are not the first of all]"
    for child in children[:_LOOKED_AT]:
        name = prefix + names.shown(child.name) if prefix else names.as_path(child.name)
        if child.is_symlink():
            yield f"{name} -> {_target(folder, child.name)}"
        elif not child.is_dir(follow_symlinks=False):
            yield f"{name}{_size(folder, child.name)}"
        elif depth == 1 or child.name in HEAPS:
            yield f"{name}/"
        else:
            yield f"{name}/"
            yield from _below(root, folder, child.name, name + "/", depth - 1)


def _target(folder: int, name: str) -> str:
    try:
        return names.shown(os.readlink(name, dir_fd=folder))
    except OSError:
        return "[changed meanwhile]"


def _below(root: Root, folder: int, name: str, prefix: str, depth: int) -> Generator[str, None, None]:
    try:
        inner = files.enter(root, folder, name, prefix)
    except OSError as error:
        yield f"{prefix} [{(error.strerror or str(error)).lower()}]"
        return
    except NotBeneath:
        yield f"{prefix} [belongs to a daemon; no tool goes there]"
        return
    try:
        yield from _entries(root, inner, prefix, depth)
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
        "Read a text file of the workspace, or the text of an asset (asset:sha256:…). Each line comes as its number, a "
        "tab, and its text; the number and the tab are not part of the file. The last line, in brackets, says how much "
        "was shown and how to read on, and gives the file's sha256 for expected_sha256."
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
        f"not gone into). {ESCAPED} To find files by name use glob_search."
    ),
    arguments=ListFiles,
    effect=Effect.READ,
    replay=Replay.SAFE,
    run=_list,
)

TOOLS = (READ_FILE, LIST_FILES)
