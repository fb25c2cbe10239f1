"""The binding of an approval: the call, and the programs and files of the workspace that it names."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kheish.beneath import Door, expand, files, names, pool
from kheish.beneath.door import Root, opened
from kheish.domain import approvals
from kheish.domain.approvals import Bound
from kheish.domain.permissions.rules import SHELL_TOOLS
from kheish.domain.runs import Run
from kheish.errors import NotBeneath
from kheish.jobs import operands, sandbox
from kheish.runtime import locating
from kheish.state.state import State

if TYPE_CHECKING:
    from kheish.runtime.executor import Executor

_MORE = "\0"  # no path: the marker of a pattern that may match more than the checked files
_MOST = 500  # files of one call; the others are bound by name only


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The programs and files that a call names, on the machine that has its workspace, which is `folder`."""

    folder: str
    programs: tuple[str, ...] = ()
    files: tuple[dict[str, Any], ...] = ()
    unbound: tuple[str, ...] = ()


async def bind(state: State, run: Run, tool: str, raw: Mapping[str, Any], executor: Executor) -> Bound:
    """Return the binding of an approval of this call in the current state. Reads files, in a thread."""
    if tool not in SHELL_TOOLS:
        digest = approvals.digest_of(tool=tool, arguments=raw, folder=run.workspace, executable=None)
        return Bound(digest=digest)
    facts = await executor.facts(locating.where(state, run), raw)
    executable = ", ".join(facts.programs) or None
    digest = approvals.digest_of(
        tool=tool, arguments=raw, folder=facts.folder, executable=executable, files=facts.files
    )
    return Bound(digest=digest, files=facts.files, unbound=facts.unbound)


def facts(door: Door, raw: Mapping[str, Any], read_only: tuple[Path, ...]) -> Facts:
    """Return what a command line names. Blocks on disk."""
    root = door.path
    named = operands.read(str(raw.get("command", "")))
    path = sandbox.clean_environment(root, read_only)["PATH"]
    programs = tuple(sandbox.resolve_executable(name, path) or name for name in named.programs)
    unbound = named.unbound
    try:
        with opened(door) as top:
            bound, is_whole = _files(top, _candidates(top, named, str(raw.get("workdir") or ".")))
    except NotBeneath:
        bound, is_whole = (), True  # there is no workspace: none of its files can be bound
    if not is_whole:
        unbound = (*unbound, "files beyond the first that fit")
    return Facts(folder=str(root), programs=programs, files=bound, unbound=unbound)


def _files(root: Root, candidates: Iterator[str]) -> tuple[tuple[dict[str, Any], ...], bool]:
    """Return the files of the workspace among the candidates, and whether all candidates were checked."""
    seen: dict[str, dict[str, Any]] = {}
    is_whole = True
    for candidate in itertools.islice(candidates, 4 * _MOST):
        if len(seen) == _MOST:
            return tuple(seen.values()), False
        pool.check()
        if candidate == _MORE:
            is_whole = False
            continue
        digest = files.digest(root, candidate)  # none: it is no regular file of the workspace, and cannot be bound
        if digest is not None and digest.path not in seen:
            facts = {"path": digest.path, "sha256": digest.sha256, "bytes": digest.bytes}
            seen[digest.path] = facts if digest.sha256 is not None else facts | {"mtime_ns": digest.mtime_ns}
    return tuple(seen.values()), is_whole and next(candidates, None) is None


def _candidates(root: Root, named: operands.Operands, workdir: str) -> Iterator[str]:
    """Yield paths that the command may mean, from the workspace: seen from its folder, or one that it changes to."""
    # Words are literal; they contain no escapes of ours.
    folders = [workdir, *(os.path.join(workdir, names.shown(folder)) for folder in named.folders)]  # noqa: PTH118 - words
    for folder in dict.fromkeys(folders):
        for word in named.words:
            yield os.path.join(folder, names.shown(word))  # noqa: PTH118
        for pattern in named.patterns:
            paths = expand.expand(root.door, pattern, folder, _MOST + 1)
            yield from paths if len(paths) <= _MOST else (*paths, _MORE)
