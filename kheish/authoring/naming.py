"""Names and places of the files that users write: what is not read because of them, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from kheish import ids
from kheish.authoring import skills as skill_files
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import Source, kind_of, looks_meant
from kheish.domain.definitions import KINDS, TOP, Kind
from kheish.domain.mcp.server import SEPARATOR
from kheish.store.edits.problems import Problem

MISPLACED = "misplaced"
_ONE_NAMESPACE = {"connectors": "outputs", "outputs": "connectors"}


def problems(
    path: str, sources: Mapping[str, Source], has: Callable[[str], bool], others: Iterable[str]
) -> Iterator[Problem]:
    """Yield the problems of a file's name, which must match a Definition's id. `has` and `others` are about the files
    that are not checked now."""
    folder, _, name = path.partition("/")
    kind = KINDS.get(folder)
    if path in TOP or kind is None:
        return
    if kind.in_folder:
        of_kind = playbook_files.named_wrong if kind.has_files else skill_files.named_wrong
        yield from of_kind(path, lambda other: other in sources or has(other))
    elif kind_of(path) is None:
        if looks_meant(path) and not (kind.name == "routes" and "/" in name and _is_no_route(sources.get(path))):
            yield _misplaced(path, kind, name)
    else:
        twin = twin_of(path)
        if twin is not None and (twin in sources or has(twin)):
            message = f"{twin} has the same name; reply targets name either, so that one of them needs another name"
            yield Problem(path, None, None, "error", "name_taken", message)
        yield from _illegal(path, kind, name.rpartition(".")[0], chain(sources, others))


def twin_of(path: str) -> str | None:
    """Return the path of the Definition that would share its name: outputs and connectors have one namespace."""
    folder, slash, name = path.partition("/")
    other = _ONE_NAMESPACE.get(folder)
    return f"{other}{slash}{name}" if other is not None else None


def _is_no_route(source: Source | None) -> bool:
    """Return whether a file in a sub-folder of routes/ is none by its content: it may be a script."""
    return source is None or b"driver" not in source.raw


def _misplaced(path: str, kind: Kind, name: str) -> Problem:
    """Return the problem of a file that looks like a Definition, and is not read."""
    first, slash, _ = name.partition("/")
    last = name.rpartition("/")[2]
    stem, dot, _ = last.rpartition(".")
    meant = f"{stem if dot else last}{kind.suffix}".lower()
    if slash and first.endswith(kind.suffix):
        message = f"the file is not read: {kind.name}/{first} is a folder, and {kind.article} {kind.one} is a file"
        return Problem(path, None, None, "warning", MISPLACED, message)
    if slash:
        message = f"the file is not read: it lies in a sub-folder; move it to {kind.name}/{meant}"
        return Problem(path, None, None, "warning", MISPLACED, message, f"{kind.name}/{meant}")
    if last.endswith(".yml") and kind.suffix == ".yaml":
        message = f".yml files are not read; name the file {stem}.yaml"
        return Problem(path, None, None, "error", "bad_name", message, f"{stem}.yaml")
    message = f"the file is not read: {kind.article} {kind.one} ends in {kind.suffix}; name it {meant}"
    return Problem(path, None, None, "warning", MISPLACED, message, meant)


def _illegal(path: str, kind: Kind, stem: str, others: Iterable[str]) -> Iterator[Problem]:
    """Yield the problems of a Definition's id."""
    if kind.name == "mcp" and (SEPARATOR in stem or stem.endswith("_")):
        why = (
            f"{stem!r} contains {SEPARATOR}, or ends with _"  # the names of its tools would be those of another server
        )
        yield Problem(path, None, None, "error", "bad_name", f"{why}; choose another name")
    if ids.is_slug(stem):
        return
    twin = next((other for other in others if other != path and other.lower() == path.lower()), None)
    near = stem.lower() if ids.is_slug(stem.lower()) else None
    message = f"{stem!r} is not a legal name: use a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
    if twin is not None:
        message, near = f"{path} differs from {twin} only by case; choose another name", None
    yield Problem(path, None, None, "error", "bad_name", message, near and near + kind.suffix)
