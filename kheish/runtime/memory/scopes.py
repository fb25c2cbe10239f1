"""The places of memory that a run sees, under the names that its agent uses, and what the agent may change there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kheish.domain.memory import names
from kheish.domain.memory.names import SHARED, Place
from kheish.domain.runs import Run
from kheish.errors import Invalid
from kheish.runtime.projects import work
from kheish.state.state import State

ROOT = "/memories"
_NO_PROJECT = "You take part in no project, so that there is no project memory; use session or shared."


def visible(session_id: str, persona: Mapping[str, Any] | None, projects: Sequence[str] = ()) -> dict[str, Place]:
    """Return the places that a session sees, by the names of their folders under /memories: the only project is
    `project`, and one of several `project/ID`."""
    places = {"session": Place("session", session_id)}
    if persona:
        places["persona"] = Place("persona", str(persona["persona_id"]))
    for project in projects:
        places["project" if len(projects) == 1 else f"project/{project}"] = Place("project", project)
    return {**places, "shared": SHARED}


def of_session(state: State, session_id: str, persona: Mapping[str, Any] | None) -> dict[str, Place]:
    """Return the places that a loaded session sees."""
    return visible(session_id, persona, work.projects_of(state, session_id))


def of_run(state: State, run: Run) -> dict[str, Place]:
    """Return the places that a run sees; its session is loaded."""
    return of_session(state, run.session_id, run.settings.persona)


def shown(places: Mapping[str, Place], place: Place, name: str = "") -> str:
    """Return the agent's name of a file or of a place."""
    word = next(word for word, one in places.items() if one == place)
    return f"{ROOT}/{word}/{name}" if name else f"{ROOT}/{word}"


def resolve(places: Mapping[str, Place], path: str) -> tuple[Place | None, str]:
    """Return the place and the file's name that an agent means; without a name it is a folder, without a place all of
    memory. A file right in /memories is in the session's place. Raises Invalid."""
    words = [word for word in path.split("/") if word not in ("", ".")]
    if not path.startswith("/") or not words or words[0] != ROOT[1:] or ".." in words:
        raise Invalid(f"Path {path} is outside of the memory directory {ROOT}")
    rest = words[1:]
    if not rest:
        return None, ""
    if rest[0] == "project":
        return _in_project(places, rest[1:])
    place = places.get(rest[0])
    if place is not None and len(rest) == 1:
        return place, ""
    if place is None and len(rest) == 1 and rest[0].endswith(names.SUFFIX):
        return places["session"], names.check_name(rest[0])
    if place is None:
        known = ", ".join(f"{ROOT}/{word}" for word in places)
        raise Invalid(f"Path {path} is in no folder of memory; there are {known}")
    return place, names.check_name("/".join(rest[1:]))


def _in_project(places: Mapping[str, Place], rest: list[str]) -> tuple[Place, str]:
    """Return the place of a project and the file's name; the only project needs no name. Raises Invalid."""
    known = {place.owner: place for place in places.values() if place.scope == "project"}
    if not known:
        raise Invalid(_NO_PROJECT)
    if rest and rest[0] in known:
        place, rest = known[rest[0]], rest[1:]
    elif len(known) == 1:
        [place] = known.values()
    else:
        raise Invalid(f"Name the project: {', '.join(f'{ROOT}/project/{one}' for one in known)}")
    return place, names.check_name("/".join(rest)) if rest else ""


def may_write(place: Place, run: Run) -> bool:
    """Return whether the run may change a place without a user: its own, its projects', and its persona's where that
    permits it."""
    persona = run.settings.persona or {}
    return place.scope in ("session", "project") or (place.scope == "persona" and persona.get("memory") == "write")
