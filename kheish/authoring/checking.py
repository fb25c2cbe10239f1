"""Validation of users' files as one set: the definitions that would be in force, and all errors. Nothing is changed.

A new or changed file is a candidate. It is refused if it has errors, refers to a missing definition, or closes a cycle
of fallbacks; then the previous version stays in force. A definition that others in force still refer to is not removed.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from kheish.authoring import naming
from kheish.authoring.playbooks import files as playbook_files
from kheish.authoring.sources import NOT_YET, Source, id_of, kind_of
from kheish.config import Config
from kheish.domain.definitions import KINDS, Definition, InForce, Kind, Observed
from kheish.domain.playbooks.manifest import Playbook
from kheish.domain.routes import Route
from kheish.domain.scripts import Script
from kheish.store.edits import definitions as reading, problems as words
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.problems import Problem, Severity
from kheish.store.edits.yaml12 import MapNode

_SCRIPT_FOLDER = "routes"
_SCRIPT = Kind(name="scripts", singular="script", suffix="", model=Script)
#: keys that are accepted but have no effect yet
WITHOUT_EFFECT: Mapping[type[BaseModel], tuple[tuple[str, ...], ...]] = {
    Config: (("retention", "idempotency"),),
}


@dataclass(frozen=True, slots=True)
class Around:
    """The surroundings of the checked files. They do not refer to the checked files, and their own outcome stands."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    in_force: InForce = field(default_factory=InForce)
    concerned: frozenset[str] = frozenset()

    def has(self, path: str) -> bool:
        """Return whether a file exists."""
        return path not in self.concerned and path in self.sources

    def paths(self) -> Iterator[str]:
        """Yield the files."""
        return (path for path in self.sources if path not in self.concerned)

    def ids(self, kind: Kind) -> Iterator[str]:
        """Yield the ids of a kind that are in force."""
        known = self.in_force.by_kind.get(kind.name, {})
        return (id for id, one in known.items() if one.path not in self.concerned)


@dataclass(slots=True)
class Outcome:
    """The outcome of checking a set of files.

    `world` is what would be in force, by path; `parsed` has every readable candidate; `scripts` are the valid script
    files, and `read` the contents of all of them. `concerned` are the checked files, including missing ones.
    """

    concerned: frozenset[str] = frozenset()
    scrub: Callable[[bytes], bytes] | None = None  # the secrets that were scanned for, if all files were checked
    read: dict[str, Parsed[Any]] = field(default_factory=dict)
    world: dict[str, Definition] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    observed: dict[str, Observed] = field(default_factory=dict)
    parsed: dict[str, Parsed[Any]] = field(default_factory=dict)
    scripts: dict[str, Script] = field(default_factory=dict)

    def errors(self, path: str) -> list[Problem]:
        """Return the errors of one file, without warnings."""
        return [problem for problem in self.problems.get(path, ()) if problem.severity == "error"]


def check(
    sources: Mapping[str, Source],
    before: Mapping[str, Definition],
    given: Mapping[str, Parsed[Any]] | None = None,
    *,
    last: Outcome | None = None,
    around: Around | None = None,
) -> Outcome:
    """Check files together.

    `before`: the definitions in force, by path; `given`: already parsed, from another form than the file's own; `last`:
    an outcome whose parsed files are not parsed again; `around`: the files that are not concerned. It may take long:
    call it in a thread.
    """
    last, around = last or Outcome(), around or Around()
    out = Outcome(concerned=frozenset({*sources, *before}))
    for path, source in sources.items():
        if kind_of(path) is not None:
            ready = (given or {}).get(path) if source.fault is None else None
            out.parsed[path] = ready or _parse(path, source, last.parsed.get(path))
    scripts = _script_files(sources, out.parsed) - (given or {}).keys()
    for path in scripts:
        out.parsed.pop(path, None)
        if sources[path].fault is not None:
            out.problems[path] = [_fault(path, sources[path])]
            continue
        read = out.read[path] = _read(_SCRIPT, sources[path].raw, path, last.read.get(path))
        out.problems[path] = list(read.problems)
        if read.value is not None:
            out.scripts[path] = read.value
    for path in sources.keys() - scripts:
        if path in out.parsed or sources[path].fault is None:
            out.problems[path] = list(naming.problems(path, sources, around.has, around.paths()))
        else:
            out.problems[path] = [_fault(path, sources[path])]
    candidates = _candidates(sources, before, out)
    _settle(sources, before, candidates, out, around)
    _look_at_drafts(sources, candidates, out, around)
    out.observed = _observed(sources, candidates, out)
    return out


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(kind: Kind, raw: bytes, path: str, last: Parsed[Any] | None = None) -> Parsed[Any]:
    if last is not None and last.tree is not None and last.digest == reading.digest(raw):
        return last
    return playbook_files.judged(kind.read(raw, path), kind.model)


def parse(kind: Kind, raw: bytes, path: str) -> Parsed[Any]:
    """Parse a file of one kind."""
    return _read(kind, raw, path)


def _parse(path: str, source: Source, last: Parsed[Any] | None) -> Parsed[Any]:
    kind = kind_of(path)
    assert kind is not None
    if source.fault is None:
        return _read(kind, source.raw, path, last)
    return Parsed(path, None, None, [_fault(path, source)], reading.digest(b""))


def _fault(path: str, source: Source) -> Problem:
    line, column = source.place or (None, None)
    severity: Severity = "warning" if source.code == NOT_YET else "error"
    return Problem(path, line, column, severity, source.code, f"the file {source.fault}")


def _without_effect(parsed: Parsed[Any]) -> Iterator[Problem]:
    """Yield a warning for each setting that has no effect in this version."""
    keys = next((keys for model, keys in WITHOUT_EFFECT.items() if isinstance(parsed.value, model)), ())
    for place in keys:
        value: Any = parsed.data
        for key in place:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value not in (None, [], {}):
            message = f"{'.'.join(place)} is accepted, but has no effect in this version of Kheish"
            yield parsed.at(place, message, code=NOT_YET, severity="warning", key=True)


def targets(parsed: Parsed[Any]) -> Iterator[str]:
    """Yield the files that a parsed definition refers to, including scripts."""
    kind = kind_of(parsed.path)
    if kind is None or parsed.value is None or parsed.data is None:
        return
    one = Definition(
        kind=kind.name, id=id_of(parsed.path, kind), path=parsed.path, value=parsed.value, data=parsed.data, raw=b"",
        digest="",
    )  # fmt: skip
    yield from (target for _, target in one.references())
    if script := script_of(one):
        yield script


def script_of(one: Definition) -> str | None:
    """Return the script file that a route names."""
    script = one.value.script if isinstance(one.value, Route) else None
    return _script_path(script) if isinstance(script, str) else None


# --- scripts ----------------------------------------------------------------------------------------------------------


def _script_path(script: str) -> str | None:
    """Return the file that a route's `script:` names, relative to the state root; None if it is outside of routes/."""
    path = posixpath.normpath(f"{_SCRIPT_FOLDER}/{script}")
    return path if path.startswith(_SCRIPT_FOLDER + "/") and not script.startswith("/") else None


def _script_files(sources: Mapping[str, Source], parsed: Mapping[str, Parsed[Any]]) -> set[str]:
    """Return the script files: named by a route, or similar to a script; a file with `driver` is always a route."""
    texts = [(one.data or {}).get("script") for path, one in parsed.items() if path.startswith(_SCRIPT_FOLDER + "/")]
    named = {_script_path(text) for text in texts if isinstance(text, str)}
    scripts = {path for path in sources.keys() & named if path not in parsed or "driver" not in _keys(parsed[path])}
    routes = {path: _keys(one) for path, one in parsed.items() if path.startswith(_SCRIPT_FOLDER + "/")}
    looks = {path for path, keys in routes.items() if keys & {"turns", "echo"} and "driver" not in keys}
    return scripts | looks


def _keys(parsed: Parsed[Any]) -> set[str]:
    return set(parsed.tree.items) if isinstance(parsed.tree, MapNode) else set()


def _with_script(parsed: Parsed[Any], sources: Mapping[str, Source], out: Outcome) -> tuple[Any, str] | list[Problem]:
    """Return the route with its script, and the digest of both; or the problems of its script."""
    route = parsed.value
    assert isinstance(route, Route) and isinstance(route.script, str)
    path = _script_path(route.script)
    if path is None:
        return [parsed.at(("script",), f"{route.script!r} leaves the folder routes/", code="dangling_reference")]
    if path not in sources:
        rest = path.removeprefix(_SCRIPT_FOLDER + "/")
        inside = [other.removeprefix(_SCRIPT_FOLDER + "/") for other in out.scripts]
        near = words.nearest(rest, inside)
        hint = f"; did you mean {near!r}?" if near else ""
        return [parsed.at(("script",), f"there is no file {path}{hint}", code="dangling_reference", suggestion=near)]
    if path not in out.scripts:
        what = "is a route, not a script" if path in out.parsed else "has errors"
        return [parsed.at(("script",), f"the script {path} {what}", code="dangling_reference")]
    both = hashlib.sha256(parsed.digest.encode() + b"\0" + sources[path].raw).hexdigest()
    return route.model_copy(update={"script": out.scripts[path]}), both


# --- candidates -------------------------------------------------------------------------------------------------------


def _candidates(sources: Mapping[str, Source], before: Mapping[str, Definition], out: Outcome) -> dict[str, Definition]:
    """Return the definitions that are valid by themselves; an unchanged one is the same object as in force."""
    valid: dict[str, Definition] = {}
    for path, parsed in out.parsed.items():
        kind = kind_of(path)
        if kind is None or out.errors(path):
            continue
        out.problems[path] = [*parsed.problems, *_without_effect(parsed)]
        if parsed.value is None or parsed.data is None:
            continue
        used, digest = None, parsed.digest
        if isinstance(parsed.value, Route) and isinstance(parsed.value.script, str):
            script = _with_script(parsed, sources, out)
            if isinstance(script, list):
                out.problems[path] += script
                continue
            used, digest = script
        elif isinstance(parsed.value, Playbook):
            if faults := playbook_files.unreadable(path, sources):
                out.problems[path] += [parsed.at((), fault, code="unreadable") for fault in faults]
                continue
            digest = playbook_files.digest(parsed.data, path, sources)
        old = before.get(path)
        if old is not None and (old.digest, old.raw) == (digest, sources[path].raw):
            valid[path] = old
            continue
        valid[path] = Definition(
            kind=kind.name, id=id_of(path, kind), path=path, value=parsed.value, data=parsed.data,
            raw=sources[path].raw, digest=digest, used=used,
        )  # fmt: skip
    return valid


def _settle(
    sources: Mapping[str, Source],
    before: Mapping[str, Definition],
    candidates: Mapping[str, Definition],
    out: Outcome,
    around: Around,
) -> None:
    """Withdraw candidates and removals until all references resolve."""
    invalid = out.parsed.keys() - candidates.keys()
    world = {**{path: before[path] for path in invalid & before.keys()}, **candidates}
    while True:
        fresh = {path: one for path, one in world.items() if one is not before.get(path)}
        refused = {
            path: problems
            for path, one in fresh.items()
            if (problems := list(_dangling_references(one, world, sources, out, around)))
        }
        for path, problems in refused.items():
            out.problems[path] += problems
            if path in before:
                world[path] = before[path]
            else:
                del world[path]
        standing = [one for path, one in world.items() if one is before.get(path)]
        missing = {target for one in standing for _, target in one.references() if target not in world}
        kept = {path: before[path] for path in missing & before.keys()}
        world |= kept
        if not refused and not kept:
            break
    for path in world.keys() - sources.keys():
        users = sorted(one.path for one in world.values() if any(target == path for _, target in one.references()))
        message = (
            f"the file was removed, but {', '.join(users)} refers to it; its last valid version stays in effect: "
            f"restore it, or change {', '.join(users)}"
        )
        out.problems[path] = [Problem(path, None, None, "error", "definition_referenced", message)]
    out.world = world


def _dangling_references(
    one: Definition, world: Mapping[str, Definition], sources: Mapping[str, Source], out: Outcome, around: Around
) -> Iterator[Problem]:
    """Yield a candidate's references to missing definitions, and those that close a cycle."""
    parsed = out.parsed[one.path]
    for keys, target in one.references():
        kind = kind_of(target) or KINDS[target.partition("/")[0]]  # a name with a slash is that of no file
        name = id_of(target, kind)
        is_there = target in sources or around.has(target)
        if around.has(target) and around.in_force.at(target) is not None:
            continue
        if (twin := naming.twin_of(target)) is not None and (twin in world or around.in_force.at(twin) is not None):
            continue  # a reply target that names a connector
        if target not in world or not is_there:
            existing = [id_of(path, kind) for path in world if kind_of(path) is kind and path != one.path]
            existing += around.ids(kind)
            near = words.nearest(name, existing) if not is_there else None
            message = f"there is no {kind.one} {name!r}" + (f"; did you mean {near!r}?" if near else "")
            if is_there:
                message = f"the {kind.one} {name!r} has errors, and was never valid"
            yield parsed.at(keys, message, code="dangling_reference", suggestion=near)
        elif keys[0] == "fallbacks" and (way := _find_path(target, one.path, world)):
            names = " → ".join(id_of(path, kind) for path in (one.path, *way))
            yield parsed.at(keys, f"the fallbacks form a cycle: {names}", code="reference_cycle")


def _look_at_drafts(
    sources: Mapping[str, Source], candidates: Mapping[str, Definition], out: Outcome, around: Around
) -> None:
    """Report dangling references of invalid drafts too, so that all problems are reported at once."""
    for path, parsed in out.parsed.items():
        kind = kind_of(path)
        if path in candidates or kind is None or parsed.data is None:
            continue
        draft = Definition(
            kind=kind.name, id=id_of(path, kind), path=path, value=parsed.draft, data=parsed.data, raw=b"", digest=""
        )
        problems = [*out.problems[path], *_dangling_references(draft, out.world, sources, out, around)]
        out.problems[path] = sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _find_path(start: str, end: str, world: Mapping[str, Definition]) -> list[str] | None:
    """Return the path of references from one definition to another."""
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop(0)
        if way[-1] == end:
            return way
        for _, target in world[way[-1]].references():
            if target in world and target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None


def _observed(sources: Mapping[str, Source], candidates: Mapping[str, Definition], out: Outcome) -> dict[str, Observed]:
    observed: dict[str, Observed] = {}
    for path in out.world.keys() | out.parsed.keys():
        errors = out.errors(path)
        digest = None
        if path in sources:
            digest = candidates[path].digest if path in candidates else reading.digest(sources[path].raw)
        observed[path] = Observed(digest, describe(errors[0]) if errors else None)
    return observed


def describe(problem: Problem) -> str:
    """Return a problem with its place in one line."""
    place = f"{problem.path}:{problem.line}:{problem.column}" if problem.line else problem.path
    return f"{place}: {problem.message}"
