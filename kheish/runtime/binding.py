"""What an approval is bound to: the call, the programs that it names, and the files of the workspace that it names."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kheish.domain import approvals
from kheish.domain.approvals import Bound
from kheish.domain.permission_rules import SHELL_TOOLS
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.jobs import operands, patterns, sandbox
from kheish.runtime.tools import workspace
from kheish.runtime.tools.base import ToolError

_MOST = 500  # files of one call; beyond it the rest is bound by name only
_WHOLE = 256 * 1024 * 1024  # bytes: larger files are bound by size and time, not by content
_CHUNK = 1024 * 1024


async def bind(state: State, run: Run, tool: str, raw: Mapping[str, Any]) -> Bound:
    """What an approval of this call would be bound to, as things stand now. Reads files, in a thread."""
    if tool not in SHELL_TOOLS:
        digest = approvals.digest_of(tool=tool, arguments=raw, folder=run.settings.workspace, executable=None)
        return Bound(digest=digest)
    more = tuple(Path(path).expanduser() for path in state.definitions.config.sandbox.read_only)
    return await asyncio.to_thread(_bind, Path(run.settings.workspace), tool, raw, more)


def _bind(root: Path, tool: str, raw: Mapping[str, Any], read_only: tuple[Path, ...]) -> Bound:
    named = operands.read(str(raw.get("command", "")))
    path = sandbox.clean_environment(root, read_only)["PATH"]
    programs = [sandbox.resolve_executable(name, path) or name for name in named.programs]
    budget = patterns.Budget()
    files, is_whole = _files(root, _candidates(root, named, str(raw.get("workdir") or "."), budget))
    digest = approvals.digest_of(
        tool=tool, arguments=raw, folder=str(root), executable=", ".join(programs) or None, files=files
    )
    unbound = named.unbound if is_whole and not budget.is_spent else (*named.unbound, "files beyond the first that fit")
    return Bound(digest=digest, files=files, unbound=unbound)


def _files(root: Path, candidates: Iterator[str]) -> tuple[tuple[dict[str, Any], ...], bool]:
    """Return the files of the workspace among the candidates, and whether all candidates were looked at."""
    found: dict[str, dict[str, Any]] = {}
    for candidate in itertools.islice(candidates, 4 * _MOST):
        if len(found) == _MOST:
            return tuple(found.values()), False
        try:
            with workspace.open_file(root, candidate) as (file, path):
                if path not in found:
                    found[path] = _described(path, file)
        except (ToolError, OSError, ValueError):
            continue  # no regular file of the workspace: nothing of it can be bound
    return tuple(found.values()), next(candidates, None) is None


def _described(path: str, file: BinaryIO) -> dict[str, Any]:
    status = os.fstat(file.fileno())
    if status.st_size > _WHOLE:
        return {"path": path, "sha256": None, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return {"path": path, "sha256": digest.hexdigest(), "bytes": status.st_size}


def _candidates(root: Path, named: operands.Operands, workdir: str, budget: patterns.Budget) -> Iterator[str]:
    """Paths that the command may mean, from the workspace: seen from its folder, and from those that it goes to."""
    folders = [workdir, *(os.path.join(workdir, folder) for folder in named.folders)]  # noqa: PTH118 - words, not paths
    for folder in dict.fromkeys(folders):
        for word in named.words:
            yield os.path.join(folder, word)  # noqa: PTH118
        for pattern in named.patterns:
            yield from patterns.expand(root, os.path.join(folder, pattern), budget)  # noqa: PTH118
