"""Projects whose tasks stand in the way of an edit: a member that owns open tasks stays, and a project with tasks is
not removed. The earlier version stays in force, as that of any refused Definition does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kheish.authoring.checking import Outcome, describe
from kheish.domain.definitions import Definition, Observed
from kheish.domain.projects import project as projects
from kheish.domain.projects.definition import ProjectFile
from kheish.state.state import State
from kheish.store.edits.problems import Problem

CODE = "project_has_tasks"
_FOLDER = "projects/"
Held = Mapping[str, Mapping[str, Any]]


async def held(state: State, paths: Iterable[str]) -> Held:
    """Return the documents of the projects whose files are concerned and that have tasks, by path."""
    ids = {path: path.removeprefix(_FOLDER).removesuffix(".yaml") for path in paths if path.startswith(_FOLDER)}
    docs = await projects.newest(state, list(ids.values())) if ids else []
    return {path: doc for path, doc in zip(ids, docs, strict=True) if doc is not None and any(doc["counts"].values())}


def refuse(outcome: Outcome, before: Mapping[str, Definition], held: Held) -> None:
    """Take back the changes of projects that their tasks stand in the way of, with a problem for each."""
    for path, doc in held.items():
        old, new = before.get(path), outcome.world.get(path)
        if old is None or new is old:
            continue
        problem = _problem(path, new, doc, outcome)
        if problem is None:
            continue
        outcome.world[path] = old
        outcome.problems.setdefault(path, []).append(problem)
        seen = outcome.observed.get(path)
        digest = new.digest if new is not None else None
        outcome.observed[path] = Observed(digest if seen is None else seen.digest, describe(problem))


def _problem(path: str, new: Definition | None, doc: Mapping[str, Any], outcome: Outcome) -> Problem | None:
    project = doc["project_id"]
    if new is None:
        count = sum(doc["counts"].values())
        text = (
            f"the file was removed, but the project has {count} tasks, so its last valid version stays in effect: "
            f"restore it, and archive the project (kheish projects archive {project})"
        )
        return Problem(path, None, None, "error", CODE, text)
    assert isinstance(new.value, ProjectFile)
    members = {one.member for one in new.value.members}
    gone = {name: count for name, count in doc["owners"].items() if name not in members}
    gone = {name: count for name, count in gone.items() if name}
    if not gone:
        return None
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(gone.items()))
    text = (
        f"members that own open tasks cannot be removed: {listed}; assign these to others first: kheish projects tasks "
        f"list {project} --assignee {min(gone)}"
    )
    parsed = outcome.parsed[path]
    return parsed.at(("members",), text, code=CODE, key=True)


def is_conflict(problems: Iterable[Problem]) -> bool:
    """Return whether tasks are the only obstacle to an edit."""
    codes = [one.code for one in problems if one.severity == "error"]
    return bool(codes) and set(codes) == {CODE}
