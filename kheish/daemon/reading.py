"""Reading what people wrote, as one set: each file by itself, then what they say of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kheish import ids
from kheish.domain.definitions import KINDS, TOP, Definition, Kind
from kheish.domain.routes import Route
from kheish.domain.scripts import Script
from kheish.store import definitions, files
from kheish.store.definitions import Parsed
from kheish.store.problems import Problem

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Which definition a path is: kind and id; the two files at the top have an empty id."""

    kind: Kind
    id: str
    path: str


@dataclass(slots=True)
class Found:
    """What a file says: a definition, or the problems for which it is none. `parsed` places problems found later."""

    place: Place
    raw: bytes
    parsed: Parsed[Any]
    problems: list[Problem] = field(default_factory=list)
    definition: Definition | None = None


def place_of(path: str) -> Place | None:
    """The definition that a file holds, by its path; None for what is none (a README, a script beside a route)."""
    if path in TOP:
        return Place(TOP[path], "", path)
    folder, _, name = path.partition("/")
    kind = KINDS.get(folder)
    if kind is None or "/" in name or not name.endswith(kind.suffix) or name in ("README.md", ".gitkeep"):
        return None
    return Place(kind, name.removesuffix(kind.suffix), path)


def paths(root: Path) -> Iterator[str]:
    """The files of all definitions."""
    yield from (name for name in TOP if (root / name).is_file())
    for kind in KINDS.values():
        folder = root / kind.name
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            relative = f"{kind.name}/{path.name}"
            if not path.name.startswith(".") and place_of(relative) and path.is_file():
                yield relative


def read(root: Path, place: Place, raw: bytes | None = None) -> Found | None:
    """One file, checked by itself; None where it is gone. `raw` stands for its content where it is not written yet."""
    if raw is None:
        try:
            path = files.contained(root, place.path)
            raw = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return parse(root, place, raw)


def parse(root: Path, place: Place, raw: bytes, *, is_json: bool = False) -> Found:
    """The content of a definition, with every problem that it has by itself."""
    if is_json:
        parsed: Parsed[Any] = definitions.parse_json(place.kind.model, raw, place.path)
    elif place.kind.text:
        parsed = definitions.parse_markdown(place.kind.model, raw, place.path)
    else:
        parsed = definitions.parse(place.kind.model, raw, place.path)
    found = Found(place, raw, parsed, list(parsed.problems))
    if place.id and not ids.is_slug(place.id):
        found.problems.append(
            Problem(place.path, 1, 1, "error", "bad_name", f"The file's name gives the id {place.id!r}, which is not "
                    "legal: a-z, 0-9, '.', '_', '-', starting with a letter or digit.")
        )  # fmt: skip
    value = parsed.value
    digest = parsed.digest
    if isinstance(value, Route) and isinstance(value.script, str):
        value, digest = _with_script(root, found, value)
    if value is not None and not any(problem.severity == "error" for problem in found.problems):
        found.definition = Definition(
            kind=place.kind.name,
            id=place.id,
            path=place.path,
            value=value,
            data=parsed.data or {},
            raw=raw,
            digest=digest,
        )
    return found


def _with_script(root: Path, found: Found, route: Route) -> tuple[Route, str]:
    """The route with the script that its path names, and a digest over both files."""
    where = f"routes/{route.script}"
    try:
        raw = files.contained(root, where).read_bytes()
    except OSError:
        found.problems.append(found.parsed.at(("script",), f"there is no file {where}", code="dangling_reference"))
        return route, found.parsed.digest
    parsed = definitions.parse(Script, raw, where)
    found.problems += parsed.problems
    if parsed.value is None:
        return route, found.parsed.digest
    return route.model_copy(update={"script": parsed.value}), definitions.digest(found.raw + raw)


def uses_script(definition: Definition, path: str) -> bool:
    """Whether a route's script is the file at `path`."""
    script = definition.data.get("script")
    return definition.kind == "routes" and isinstance(script, str) and f"routes/{script}" == path


def references(found: Found | Definition) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """What a definition refers to: where it says so, the kind, and the id."""
    definition = found.definition if isinstance(found, Found) else found
    if definition is None:
        return
    if isinstance(definition.value, Route):
        for number, name in enumerate(definition.value.fallbacks):
            yield ("fallbacks", number), "routes", name
    if definition.kind == "config" and definition.value.default_route:
        yield ("default_route",), "routes", definition.value.default_route


def cross_check(proposed: Mapping[str, Found], known: Mapping[str, Mapping[str, Definition]]) -> None:
    """Check what files say of each other; one that refers to what is not there is no definition then.

    `known`: by kind and id, what would be in force with the proposed ones.
    """
    for found in proposed.values():
        for keys, kind, id in references(found):
            if id not in known[kind]:
                message = f"there is no {KINDS[kind].singular} {id!r}"
                found.problems.append(found.parsed.at(keys, message, code="dangling_reference"))
                found.definition = None
        if found.definition and found.definition.kind == "routes" and (cycle := _cycle(found.definition, known)):
            message = f"fallbacks go in a circle: {' → '.join(cycle)}"
            found.problems.append(found.parsed.at(("fallbacks",), message, code="bad_value"))
            found.definition = None


def _cycle(start: Definition, known: Mapping[str, Mapping[str, Definition]]) -> list[str] | None:
    trail = [start.id]

    def visit(id: str) -> list[str] | None:
        definition = start if id == start.id else known["routes"].get(id)
        for following in definition.value.fallbacks if definition else ():
            if following == start.id:
                return [*trail, start.id]
            if following not in trail:
                trail.append(following)
                if circle := visit(following):
                    return circle
                trail.pop()
        return None

    return visit(start.id)
