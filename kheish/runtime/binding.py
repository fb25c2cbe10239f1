"""What an approval is bound to: the call, the programs that it names, and the files of the workspace that it names."""

from __future__ import annotations

import asyncio
import glob
import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kheish.domain import approvals
from kheish.domain.approvals import Bound
from kheish.domain.permission_rules import SHELL_TOOLS
from kheish.domain.runs import Run
from kheish.domain.state import State
from kheish.jobs import operands, sandbox
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
    files = tuple(_files(root, named, str(raw.get("workdir") or ".")))
    digest = approvals.digest_of(
        tool=tool, arguments=raw, folder=str(root), executable=", ".join(programs) or None, files=files
    )
    return Bound(digest=digest, files=files)


def _files(root: Path, named: operands.Operands, workdir: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for candidate in itertools.islice(_candidates(root, named, workdir), 4 * _MOST):
        if len(seen) == _MOST:
            return
        try:
            with workspace.open_file(root, candidate) as (file, path):
                status = os.fstat(file.fileno())
                if path in seen:
                    continue
                seen.add(path)
                if status.st_size > _WHOLE:
                    yield {"path": path, "sha256": None, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
                    continue
                digest = hashlib.sha256()
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                yield {"path": path, "sha256": digest.hexdigest(), "bytes": status.st_size}
        except (ToolError, OSError, ValueError):
            continue  # no regular file of the workspace: nothing of it can be bound


def _candidates(root: Path, named: operands.Operands, workdir: str) -> Iterator[str]:
    """Paths that the command may mean, from the workspace: seen from its folder, and from those that it goes to."""
    folders = [workdir, *(os.path.join(workdir, folder) for folder in named.folders)]  # noqa: PTH118 - words, not paths
    for folder in folders:
        for word in named.words:
            yield os.path.join(folder, word)  # noqa: PTH118
        for pattern in named.patterns:
            inside = os.path.join(folder, pattern)  # noqa: PTH118
            if not inside.startswith("/") and ".." not in inside.split("/"):
                found = glob.iglob(inside, root_dir=root, include_hidden=False)  # noqa: PTH207 - Path.glob has other rules
                yield from sorted(itertools.islice(found, _MOST))
