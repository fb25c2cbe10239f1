"""Searching for files and text: `glob_search` and `grep_search`, by ripgrep if it is installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kheish.beneath import Door, Hidden, globs
from kheish.runtime.tools import by_descriptor, processes, truncate, walking, workspace
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.files import ESCAPED
from kheish.runtime.tools.processes import Answer
from kheish.runtime.tools.shell import SandboxSettings

_LIST_BYTES = 32 * 1024 * 1024
_TEXT_BYTES = 4 * 1024 * 1024
_SHOWN_BYTES = 56 * 1024
_COLUMNS = 500
_MAX_ALTERNATIVES = 64
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


def findripgrep_command() -> str | None:
    """Return the path of ripgrep, or None."""
    return shutil.which("rg")


def find_ripgrep() -> str | None:
    """Return the path of ripgrep, or None."""
    return shutil.which("rg")


def make(
    ripgrep: Callable[[], str | None] = find_ripgrep, settings: Callable[[], SandboxSettings] | None = None
) -> tuple[Tool, Tool]:
    """Return the two tools.

    `ripgrep` is called at each tool call; if it returns None, Python searches. If `settings` confine commands, ripgrep
    is confined like a command: it walks by path, and must not reach further than commands do.
    """

    async def engine() -> walking.Engine:
        given = settings() if settings is not None else None
        return await asyncio.to_thread(walking.choose, ripgrep, given)

    async def glob(arguments: GlobSearch, context: Context) -> Result:
        return await _glob(arguments, context, await engine())

    async def grep(arguments: GrepSearch, context: Context) -> Result:
        return await _grep(arguments, context, await engine())

    return (
        Tool(
            name="glob_search",
            description=(
                "Find files of the workspace by a glob pattern; returns their paths, sorted. Files that .gitignore "
                "names are left out, links are not followed. Brackets also stand for themselves, and \\ is put before "
                f"what is meant as it is. {ESCAPED}"
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


async def _glob(arguments: GlobSearch, context: Context, engine: walking.Engine) -> Result:
    patterns = _patterns(arguments.pattern, context.workspace)
    target = await workspace.work(context, walking.open_target, context.door, arguments.path)
    try:
        if target.is_file:
            raise ToolError(f"{arguments.path}: not a folder.")
        argv = (
            [*walking.ripgrep_command(engine.rg), "--files"]
            if engine.rg
            else [*walking.python(context.hidden), "--files"]
        )
        answer = await walking.walk(argv, target, _LIST_BYTES, engine, context)
    finally:
        os.close(target.descriptor)
    _check(answer)
    names, total = await workspace.work(context, _select, answer.out, patterns, target, arguments.limit, context.door)
    lines = [target.shown(name) for name in names] or [f"No file matches {arguments.pattern} in {target.path}."]
    if total > len(names):
        lines.append(f"[{len(names)} of {total} paths shown; use a narrower pattern, or a higher limit]")
    if answer.stopped:
        lines.append(f"[the search is not complete: {answer.stopped}; search a folder below]")
    if answer.note:
        lines.append(f"[{answer.note}]")
    return Result(
        content=truncate.middle("\n".join(lines), _SHOWN_BYTES, advice="use a narrower pattern"),
        detail=_detail(engine.rg, files=total, shown=len(names), complete=answer.stopped is None),
    )


def _select(out: bytes, patterns: _Patterns, target: walking.Target, limit: int, door: Door) -> tuple[list[str], int]:
    names = [name for name in by_descriptor.names_of(out) if globs.covers(patterns, name.split("/"))]
    # It walked by path, and may have been led out of the workspace meanwhile: names outside of it are not shown.
    return by_descriptor.those_there(door, target.path, names, limit), len(names)


async def _grep(arguments: GrepSearch, context: Context, engine: walking.Engine) -> Result:
    patterns = _patterns(arguments.glob, context.workspace) if arguments.glob else ()
    target = await workspace.work(context, walking.open_target, context.door, arguments.path)
    try:
        if engine.rg is None or target.is_file:
            argv = _grep_argv(arguments, target, engine.rg, context.hidden)
            answer = await walking.run(argv, target, _TEXT_BYTES)
            _check(answer)
        else:
            answer = await _search_twice(arguments, patterns, target, engine, context)
    finally:
        os.close(target.descriptor)
    return await asyncio.to_thread(_matches, arguments, patterns, target, answer, engine.rg)


async def _search_twice(
    arguments: GrepSearch, patterns: _Patterns, target: walking.Target, engine: walking.Engine, context: Context
) -> Answer:
    """Search by path for the files that may match, and then those files by their descriptors."""
    look = arguments.model_copy(update={"output": "files"})
    first = await walking.walk(
        _grep_argv(look, target, engine.rg, context.hidden), target, _LIST_BYTES, engine, context
    )
    _check(first)
    names = [
        name for name in by_descriptor.names_of(first.out) if not patterns or globs.covers(patterns, name.split("/"))
    ]
    stopped = first.stopped
    if len(names) > by_descriptor.MOST:
        stopped = f"more than {by_descriptor.MOST} files match"
    argv = [word for word in _grep_argv(arguments, target, engine.rg, context.hidden) if word[:6] != "--sort"][:-1]
    out = bytearray()
    for at in range(0, min(len(names), by_descriptor.MOST), by_descriptor.AT_ONCE):
        some = names[at : min(at + by_descriptor.AT_ONCE, by_descriptor.MOST)]
        opened_files = await workspace.work(context, by_descriptor.by_descriptor, context.door, target.path, some)
        try:
            if opened_files:
                words = [*argv, *by_descriptor.arguments(opened_files)]
                answer = await processes.execute(
                    words, _TEXT_BYTES, stdin=DEVNULL, cwd="/", descriptors=tuple(opened_files)
                )
                stopped = answer.stopped or stopped
                separator = b"\0" if arguments.output == "files" else b"\n"
                out += by_descriptor.named(answer.out, opened_files, separator=separator)
        finally:
            by_descriptor.close(opened_files)
    return replace(first, out=bytes(out), stopped=stopped)


def _grep_argv(arguments: GrepSearch, target: walking.Target, rg: str | None, hidden: Hidden) -> list[str]:
    if rg is None:
        argv = [*walking.python(hidden), f"--context={arguments.context}", f"--output={arguments.output}"]
        argv += ["--fixed"] if arguments.literal else []
        argv += ["--ignore-case"] if arguments.ignore_case else []
        argv += ["--stdin"] if target.is_file else []
        return [*argv, "--", arguments.pattern]
    argv = [*walking.ripgrep_command(rg), "--line-number", "--with-filename", "--no-heading", "--color=never", "--crlf"]
    argv += [f"--max-columns={_COLUMNS}", "--max-columns-preview", "--context-separator=", "--no-messages"]
    argv += {
        "lines": [f"--context={arguments.context}"],
        "files": ["--files-with-matches"],
        "counts": ["--count"],
    }[arguments.output]
    # a type, not --glob, which would re-include files that .gitignore names
    ending = _ending(arguments.glob)
    argv += [f"--type-add=kheish:*{ending}", "--type=kheish"] if ending and not target.is_file else []
    argv += ["--fixed-strings"] if arguments.literal else []
    argv += ["--ignore-case"] if arguments.ignore_case else []
    return [*argv, "--", arguments.pattern, "-" if target.is_file else "./"]


def _matches(
    arguments: GrepSearch, patterns: _Patterns, target: walking.Target, answer: Answer, rg: str | None
) -> Result:
    lines: list[str] = []
    total = shown = size = 0
    files: dict[str, None] = {}
    for name, text in _parse_records(answer.out, arguments.output):
        if patterns and not target.is_file and not globs.covers(patterns, name.removeprefix("./").split("/")):
            continue
        path = target.shown(name)
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
    if answer.note:
        lines += ["", f"[{answer.note}]"]
    detail = _detail(rg, files=len(files), shown=shown, complete=answer.stopped is None)
    return Result(content="\n".join(lines), detail=detail | {"matches": total})


def _parse_records(out: bytes, output: str) -> list[tuple[str, str]]:
    """Return pairs of path and text: `12:text` a match, `11-text` a line near a match, a number, or nothing."""
    if output == "files":
        return [(os.fsdecode(raw), "") for raw in out.split(b"\0")[:-1]]
    if output == "counts":  # not line by line: a name may have a line break
        return [(_parse_name(raw), count.decode()) for raw, count in _COUNTED.findall(out)]
    pairs = []
    for line in out.split(b"\n"):
        path, mark, text = line.partition(b"\0")
        if mark:
            pairs.append((_parse_name(path), text.rstrip(b"\r").decode("utf-8", "replace")))
    return pairs


def _parse_name(raw: bytes) -> str:
    """Return the path of a record; `by_descriptor.named` writes a line break in it as `//`."""
    return os.fsdecode(raw.replace(b"//", b"\n"))


def _check(answer: Answer) -> None:
    if answer.stopped is None and answer.status not in (0, 1) and not answer.out:
        raise ToolError(truncate.middle(answer.err, 2000) or f"The search failed with status {answer.status}.")


#: a glob, parsed leniently
_Patterns = tuple[globs.Steps, ...]


def _patterns(pattern: str, root: Path) -> _Patterns:
    try:
        globs.expanded(pattern, _MAX_ALTERNATIVES)
        return globs.compiled(_relative(pattern, root), is_loose=True)
    except globs.TooMany:
        raise ToolError(f"{pattern}: has more than {_MAX_ALTERNATIVES} alternatives; use a simpler pattern.") from None


def _ending(pattern: str | None) -> str:
    """Return the suffix of the names that a glob matches, if it is plain: ripgrep need not check others."""
    _, star, ending = (pattern or "").rpartition("*")
    return ending if star and re.fullmatch(r"[\w.-]+", ending) else ""


def _relative(pattern: str, root: Path) -> str:
    """Return a glob relative to the searched folder; models sometimes write absolute ones."""
    if not pattern.startswith("/"):
        return pattern
    inside = pattern.removeprefix(f"{root}/")
    if inside == pattern:
        raise ToolError(f"{pattern}: a pattern is relative to the folder that is searched.")
    return f"./{inside}"


def _detail(rg: str | None, *, files: int, shown: int, complete: bool) -> dict[str, object]:
    return {"engine": "ripgrep" if rg else "python", "files": files, "shown": shown, "complete": complete}
