"""A Playbook's folder: problems of its manifest beyond types, its files, and its digest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kheish import ids
from kheish.authoring.sources import Source
from kheish.domain.definitions import KINDS
from kheish.domain.playbooks import checks as playbook_checks, digest as playbook_digest
from kheish.domain.playbooks.manifest import Playbook
from kheish.store import door, names
from kheish.store.edits import definitions as reading
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.problems import Problem
from kheish.store.edits.yaml12 import MAX_BYTES
from kheish.store.pipes import unpack

if TYPE_CHECKING:
    from kheish.authoring.checking import Outcome

KIND = KINDS["playbooks"]
FOLDER = f"{KIND.name}/"
MANIFEST = KIND.suffix.removeprefix("/")
_SPELLINGS = frozenset({MANIFEST, "playbook.yml", "playbook.json"})


@cache
def tool_names() -> frozenset[str]:
    """Return the names of the built-in tools."""
    from kheish.runtime.mcp.tools import Common
    from kheish.runtime.tools import registry
    from kheish.runtime.tools.shell import SandboxSettings

    builtin = registry.builtin(lambda: SandboxSettings(mode="off", available=False))
    return frozenset((*builtin, *(tool.name for tool in Common().make())))


def known_tools() -> frozenset[str]:
    """Return the names of all tools that a manifest may name: the built-in ones, and those of packages."""
    from kheish.runtime.tools.installed import packages

    own = packages.tools_of(packages.loaded())
    return tool_names() | own.keys() if own else tool_names()


def judged(parsed: Parsed[Any], model: type[BaseModel]) -> Parsed[Any]:
    """Return the parsed file, with the further problems of a Playbook's manifest."""
    if model is not Playbook or parsed.data is None:
        return parsed
    known = {(problem.pointer, problem.code) for problem in parsed.problems}
    further = [
        parsed.at(
            one.keys, one.message, code=one.code, severity=one.severity, suggestion=one.suggestion, key=one.at_key
        )
        for one in playbook_checks.check(parsed.data, tools=known_tools())
    ]
    problems = [*parsed.problems, *(one for one in further if (one.pointer, one.code) not in known)]
    problems.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    has_errors = any(problem.severity == "error" for problem in problems)
    return dataclasses.replace(parsed, value=None if has_errors else parsed.value, problems=problems)


def parse(raw: bytes, path: str) -> Parsed[Any]:
    """Parse a manifest in YAML."""
    return judged(reading.parse(Playbook, raw, path), Playbook)


def text_of(folder: Mapping[str, Any]) -> bytes:
    """Return the manifest from a folder that the git worker returned."""
    return unpack(folder["raw"])


def on_disk(root: Path, playbook_id: str) -> frozenset[str]:
    """Return the paths of all files of a draft on disk, and of its manifest in any case. Blocks on disk."""
    paths = (path for path, _ in door.walk(root, f"{KIND.name}/{playbook_id}"))
    return frozenset({KIND.path(playbook_id), *paths})


def folder_of(path: str) -> str | None:
    """Return the folder of the Playbook that a file belongs to: `playbooks/triage/`."""
    parts = path.split("/")
    return f"{FOLDER}{parts[1]}/" if len(parts) > 2 and parts[0] == KIND.name else None


def beside(manifest: str, paths: Iterable[str]) -> list[str]:
    """Return those of the paths that lie beside a manifest."""
    folder = manifest.removesuffix(MANIFEST)
    return [path for path in paths if path.startswith(folder) and path != manifest]


def named_wrong(path: str, has: Callable[[str], bool]) -> Iterator[Problem]:
    """Yield the problems of the place of a file under `playbooks/`: each Playbook is a folder, named after its id.
    `has` returns whether a file exists."""
    rest = path.removeprefix(FOLDER)
    id, slash, name = rest.partition("/")
    if not slash:
        stem = id.rpartition(".")[0]
        near = f"{stem}/{MANIFEST}" if id.endswith((".yaml", ".yml")) and ids.is_slug(stem) else None
        message = f"a Playbook is a folder: {FOLDER}<id>/{MANIFEST}"
        yield Problem(path, None, None, "error", "bad_name", message, near)
    elif name != MANIFEST and has(f"{FOLDER}{id}/{MANIFEST}"):
        return
    elif "/" in name and name.endswith(f"/{MANIFEST}"):
        near = f"{FOLDER}{path.split('/')[-2]}"
        message = f"the Playbook is not read: it lies in a sub-folder; move its folder to {near}"
        yield Problem(path, None, None, "error", "bad_name", message, near)
    elif name.lower() in _SPELLINGS and name != MANIFEST:
        message = f"files of this name are not read; name it {MANIFEST}"
        yield Problem(path, None, None, "error", "bad_name", message, MANIFEST)
    elif name == MANIFEST and not ids.is_slug(id):
        near = id.lower() if ids.is_slug(id.lower()) else None
        message = f"{id!r} is not a legal name: use a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
        yield Problem(path, None, None, "error", "bad_name", message, near)


def unreadable(manifest: str, sources: Mapping[str, Source]) -> list[str]:
    """Return the problems of the files beside a manifest: without them the Playbook is incomplete."""
    problems = []
    for path in beside(manifest, sources):
        one = sources[path]
        if one.fault is not None:
            problems.append(f"{path} {one.fault}")
        elif len(one.raw) > MAX_BYTES:
            problems.append(f"{path} is larger than {MAX_BYTES // 1024**2} MiB; put it elsewhere, and name it")
    return problems


def all_beside(sources: Iterable[str]) -> list[str]:
    """Return those of the paths that lie beside any manifest."""
    return [path for path in sources if (folder := folder_of(path)) is not None and path != folder + MANIFEST]


def with_it(path: str, sources: Mapping[str, Source]) -> list[str]:
    """Return the files that are committed with a manifest: all beside it."""
    return beside(path, sources) if folder_of(path) == path.removesuffix(MANIFEST) else []


def is_whole(path: str, outcome: Outcome, sources: Mapping[str, Source]) -> bool:
    """Return whether a file lies beside a manifest whose current content is in force."""
    folder = folder_of(path)
    manifest = f"{folder}{MANIFEST}"
    if folder is None or path == manifest or manifest not in outcome.world or manifest not in sources:
        return False
    return outcome.world[manifest].raw == sources[manifest].raw and not outcome.errors(manifest)


def digest(parsed_data: Mapping[str, Any], manifest: str, sources: Mapping[str, Source]) -> str:
    """Return the digest of a draft as it was read. Raises ValueError."""
    folder = manifest.removesuffix(MANIFEST)
    files = {path.removeprefix(folder): _sha256(sources[path].raw) for path in beside(manifest, sources)}
    return playbook_digest.digest(parsed_data, files)


def digest_of_file(file: Path) -> str:
    """Return the digest of any manifest on disk and its files. Raises InvalidDefinition, OSError, ValueError."""
    parsed = reading.parse(Playbook, door.read_own(file)[0], names.text(os.fspath(file)))
    parsed.require()
    assert parsed.data is not None
    paths = (path.removeprefix("./") for path, status in door.walk(file.parent, ".") if stat.S_ISREG(status.st_mode))
    files = {path: _sha256(door.read(file.parent, path)) for path in paths if path != file.name}
    return playbook_digest.digest(parsed.data, files)


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
