"""Finding files and text: `glob_search` and `grep_search`, by ripgrep where there is one."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kheish.runtime.tools import cut, globs, reopened, scan, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.files import HEAPS

_SECONDS = 30.0
_LIST_BYTES = 32 * 1024 * 1024
_TEXT_BYTES = 4 * 1024 * 1024
_SHOWN_BYTES = 56 * 1024
_COLUMNS = 500
_COUNTED = re.compile(rb"([^\0]+)\0(\d+)\r?\n")

_Glob = Annotated[
    str,
    Field(
        min_length=1,
        description="Glob such as *.py, src/**/*.ts or {a,b}*.md; without / it is a file name at any depth.",
    ),
]
_Folder = Annotated[str, Field(description="Folder to search, relative to the workspace.")]


class GlobSearch(Arguments):
    pattern: _Glob
    path: _Folder = "."
    limit: int = Field(200, ge=1, le=2000, description="How many paths to return at most.")


class GrepSearch(Arguments):
    pattern: str = Field(min_length=1, description="Regular expression, matched line by line.")
    path: str = Field(".", description="Folder or file to search, relative to the workspace.")
    glob: _Glob | None = None
    literal: bool = Field(False, description="Take the pattern as plain text, not as a regular expression.")
    ignore_case: bool = False
    context: int = Field(0, ge=0, le=20, description="How many lines to show before and after each match.")
    output: Literal["lines", "files", "counts"] = Field(
        "lines", description="Matching lines, only the paths of files that match, or matches per file."
    )
    limit: int = Field(100, ge=1, le=1000, description="How many matches (or files) to return at most.")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the searching process printed; `stopped` says why it was ended early."""

    out: bytes
    err: str
    status: int
    stopped: str | None


@dataclass(frozen=True, slots=True)
class _Target:
    """The folder or file to search: an open descriptor, and its path from the workspace."""

    descriptor: int
    path: str
    is_file: bool

    def shown(self, found: str) -> str:
        if self.is_file:
            return self.path
        found = found.removeprefix("./")
        return found if self.path == "." else f"{self.path}/{found}"


def find_ripgrep() -> str | None:
    """The path of ripgrep, or None."""
    return shutil.which("rg")


def make(ripgrep: Callable[[], str | None] = find_ripgrep) -> tuple[Tool, Tool]:
    """The two tools. `ripgrep` is asked at each call; where it returns None, Python searches."""

    async def glob(arguments: GlobSearch, context: Context) -> Result:
        return await _glob(arguments, context, await asyncio.to_thread(ripgrep))

    async def grep(arguments: GrepSearch, context: Context) -> Result:
        return await _grep(arguments, context, await asyncio.to_thread(ripgrep))

    return (
        Tool(
            name="glob_search",
            description=(
                "Find files of the workspace by a glob pattern; returns their paths, sorted. Files that .gitignore "
                "names are left out, links are not followed."
            ),
            arguments=GlobSearch,
            effect=Effect.READ,
            replay=Replay.SAFE,
            run=glob,
        ),
        Tool(
            name="grep_search",
            description=(
                "Search the text of the workspace's files with a regular expression; returns, for each file, its path "
                "and the matching lines with their numbers. Files that .gitignore names and binary files are left "
                "out, links are not followed."
            ),
            arguments=GrepSearch,
            effect=Effect.READ,
            replay=Replay.SAFE,
            run=grep,
        ),
    )


async def _glob(arguments: GlobSearch, context: Context, rg: str | None) -> Result:
    patterns = globs.expand(_relative(arguments.pattern, context.workspace))
    target = await asyncio.to_thread(_open, context.workspace, arguments.path)
    try:
        if target.is_file:
            raise ToolError(f"{arguments.path}: not a folder.")
        argv = [*_ripgrep(rg), "--files"] if rg else [*_python(), "--files"]
        answer = await _run(argv, target, _LIST_BYTES)
    finally:
        os.close(target.descriptor)
    _check(answer)
    paths, total = await asyncio.to_thread(_select, answer.out, patterns, target, arguments.limit, context.workspace)
    lines = list(paths)
    if not lines:
        lines = [f"No file matches {arguments.pattern} in {target.path}."]
    if total > len(paths):
        lines.append(f"[{len(paths)} of {total} paths shown; use a narrower pattern, or a higher limit]")
    if answer.stopped:
        lines.append(f"[the search is not complete: {answer.stopped}; search a folder below]")
    return Result(
        content=cut.middle("\n".join(lines), _SHOWN_BYTES, advice="use a narrower pattern"),
        detail=_detail(rg, files=total, shown=len(paths), complete=answer.stopped is None),
    )


def _select(out: bytes, patterns: list[str], target: _Target, limit: int, root: Path) -> tuple[list[str], int]:
    matches = globs.matcher(patterns)
    found = [name for name in reopened.names_of(out) if matches(name)]
    # It walked by path, and may have been led out of the workspace meanwhile: names from there are not shown.
    shown = (name for name in found if reopened.there(root, target.path, name))
    return [_printable(target.shown(name)) for name in itertools.islice(shown, limit)], len(found)


async def _grep(arguments: GrepSearch, context: Context, rg: str | None) -> Result:
    patterns = globs.expand(_relative(arguments.glob, context.workspace)) if arguments.glob else []
    target = await asyncio.to_thread(_open, context.workspace, arguments.path)
    try:
        if rg is None or target.is_file:
            answer = await _run(_grep_argv(arguments, patterns, target, rg), target, _TEXT_BYTES)
            _check(answer)
        else:
            answer = await _twice(arguments, patterns, target, rg, context.workspace)
    finally:
        os.close(target.descriptor)
    return await asyncio.to_thread(_matches, arguments, patterns, target, answer, rg)


async def _twice(arguments: GrepSearch, patterns: list[str], target: _Target, rg: str, root: Path) -> _Answer:
    """Search by path for the files that may match, and then those files by their descriptors."""
    look = arguments.model_copy(update={"output": "files"})
    first = await _run(_grep_argv(look, patterns, target, rg), target, _LIST_BYTES)
    _check(first)
    matches = globs.matcher(patterns) if patterns else lambda _: True
    names = [name for name in reopened.names_of(first.out) if matches(name)]
    stopped = first.stopped
    if len(names) > reopened.MOST:
        stopped = f"more than {reopened.MOST} files match"
    argv = [word for word in _grep_argv(arguments, [], target, rg) if not word.startswith("--sort")][:-1]
    out = bytearray()
    for at in range(0, min(len(names), reopened.MOST), reopened.AT_ONCE):
        some = names[at : min(at + reopened.AT_ONCE, reopened.MOST)]
        with reopened.opened(root, target.path, some) as files:
            if files:
                answer = await _execute(
                    [*argv, *reopened.arguments(files)], _TEXT_BYTES, stdin=DEVNULL, cwd="/", descriptors=tuple(files)
                )
                stopped = answer.stopped or stopped
                separator = b"\0" if arguments.output == "files" else b"\n"
                out += reopened.named(answer.out, files, separator=separator)
    return _Answer(bytes(out), first.err, first.status, stopped)


def _grep_argv(arguments: GrepSearch, patterns: list[str], target: _Target, rg: str | None) -> list[str]:
    names = [] if target.is_file else [globs.name_part(pattern) for pattern in patterns]
    if rg is None:
        argv = [*_python(), f"--context={arguments.context}", f"--output={arguments.output}"]
        argv += [f"--name={name}" for name in names]
        argv += ["--fixed"] if arguments.literal else []
        argv += ["--ignore-case"] if arguments.ignore_case else []
        argv += ["--stdin"] if target.is_file else []
        return [*argv, "--", arguments.pattern]
    argv = [*_ripgrep(rg), "--line-number", "--with-filename", "--no-heading", "--color=never", "--crlf"]
    argv += [f"--max-columns={_COLUMNS}", "--max-columns-preview", "--context-separator=", "--no-messages"]
    argv += {
        "lines": [f"--context={arguments.context}"],
        "files": ["--files-with-matches"],
        "counts": ["--count"],
    }[arguments.output]
    # a type, not --glob: that one would bring back files that .gitignore names
    argv += [f"--type-add=kheish:{name}" for name in names] + (["--type=kheish"] if names else [])
    argv += ["--fixed-strings"] if arguments.literal else []
    argv += ["--ignore-case"] if arguments.ignore_case else []
    return [*argv, "--", arguments.pattern, "-" if target.is_file else "./"]


def _matches(arguments: GrepSearch, patterns: list[str], target: _Target, answer: _Answer, rg: str | None) -> Result:
    wanted = globs.matcher(patterns) if patterns and not target.is_file else lambda _: True
    lines: list[str] = []
    total = shown = size = 0
    files: dict[str, None] = {}
    for name, text in _found(answer.out, arguments.output):
        if not wanted(name.removeprefix("./")):
            continue
        path = _printable(target.shown(name))
        is_match = arguments.output != "lines" or text.lstrip("0123456789").startswith(":")
        total += is_match
        if total > arguments.limit or size > _SHOWN_BYTES:
            files[path] = None
            continue
        shown += is_match
        if arguments.output != "lines":
            new = [f"{path}: {text}" if text else path]
        else:
            new = [*([] if path in files else ["", path] if files else [path]), text]
        files[path] = None
        lines += new
        size += sum(len(line.encode()) + 1 for line in new)
    if not lines:
        lines = [f"No match for {arguments.pattern} in {target.path}."]
    if total > shown:
        what = "matches" if arguments.output == "lines" else "files"
        lines += ["", f"[{shown} of {total} {what} shown; narrow the pattern, path or glob, or raise limit]"]
    if answer.stopped:
        lines += ["", f"[the search is not complete: {answer.stopped}; narrow the path or glob]"]
    detail = _detail(rg, files=len(files), shown=shown, complete=answer.stopped is None)
    return Result(content="\n".join(lines), detail=detail | {"matches": total})


def _found(out: bytes, output: str) -> list[tuple[str, str]]:
    """Pairs of path and text: `12:text` a match, `11-text` a line near one, a number, or nothing."""
    if output == "files":
        return [(os.fsdecode(raw), "") for raw in out.split(b"\0")[:-1]]
    if output == "counts":  # not line by line: a name may have a line break
        return [(os.fsdecode(raw), count.decode()) for raw, count in _COUNTED.findall(out)]
    pairs = []
    for line in out.split(b"\n"):
        path, mark, text = line.partition(b"\0")
        if mark:
            pairs.append((os.fsdecode(path), text.rstrip(b"\r").decode("utf-8", "replace")))
    return pairs


async def _run(argv: list[str], target: _Target, limit: int) -> _Answer:
    """Run a search in the target's folder, or on the target as its input."""
    if target.is_file:
        return await _execute(argv, limit, stdin=target.descriptor, cwd="/")
    # The open folder itself, not its path: that could lead elsewhere by now.
    return await _execute(argv, limit, stdin=DEVNULL, cwd=f"/proc/self/fd/{target.descriptor}")


async def _execute(argv: list[str], limit: int, *, stdin: int, cwd: str, descriptors: tuple[int, ...] = ()) -> _Answer:
    """Run a search; ended when it is too long or too much."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        cwd=cwd,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        pass_fds=descriptors,
    )
    out = bytearray()
    errors = asyncio.ensure_future(_all(process))
    stopped: str | None = None
    try:
        async with asyncio.timeout(_SECONDS):
            assert process.stdout is not None
            while chunk := await process.stdout.read(256 * 1024):
                out += chunk
                if len(out) > limit:
                    stopped = f"it found more than {limit // 1024**2} MiB"
                    break
    except TimeoutError:
        stopped = f"it took more than {_SECONDS:.0f} s"
    finally:
        await _end(process)
        err = (await errors).decode("utf-8", "replace").strip()
    return _Answer(bytes(out), err, process.returncode or 0, stopped)


async def _all(process: Process) -> bytes:
    """The first 64 KiB that it says on stderr; the rest is read and dropped, so that it never blocks."""
    assert process.stderr is not None
    kept = bytearray()
    while chunk := await process.stderr.read(64 * 1024):
        kept += chunk[: 64 * 1024 - len(kept)]
    return bytes(kept)


async def _end(process: Process) -> None:
    assert process.stdout is not None
    with suppress(ProcessLookupError):
        if process.returncode is None and not process.stdout.at_eof():
            process.kill()
    while await process.stdout.read(256 * 1024):
        pass
    await process.wait()


def _check(answer: _Answer) -> None:
    if answer.stopped is None and answer.status not in (0, 1) and not answer.out:
        raise ToolError(cut.middle(answer.err, 2000) or f"The search failed with status {answer.status}.")


def _open(root: Path, path: str) -> _Target:
    try:
        with workspace.open_folder(root, path) as (folder, where):
            return _Target(os.dup(folder), where, is_file=False)
    except workspace.NotAFolder:
        with workspace.open_file(root, path) as (file, where):
            return _Target(os.dup(file.fileno()), where, is_file=True)


def _relative(pattern: str, root: Path) -> str:
    """A glob from the searched folder; models sometimes write absolute ones."""
    if not pattern.startswith("/"):
        return pattern
    inside = pattern.removeprefix(f"{root}/")
    if inside == pattern:
        raise ToolError(f"{pattern}: a pattern is relative to the folder that is searched.")
    return f"./{inside}"


def _ripgrep(rg: str) -> list[str]:
    return [rg, "--no-config", "--no-require-git", "--hidden", "--glob=!.git", "--null", "--sort=path"]


def _python() -> list[str]:
    return [sys.executable, "-I", "-S", str(scan.__file__), *(f"--skip={name}" for name in sorted(HEAPS))]


def _printable(path: str) -> str:
    return path.encode("utf-8", "replace").decode().replace("\n", "\\n")


def _detail(rg: str | None, *, files: int, shown: int, complete: bool) -> dict[str, object]:
    return {"engine": "ripgrep" if rg else "python", "files": files, "shown": shown, "complete": complete}
