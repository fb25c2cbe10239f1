"""Names of things that are absent, and may come later or from elsewhere: a warning, and the file is in force.

A schedule may start a Playbook that is published later, and a persona's skill may be one of a workspace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from kheish import ids
from kheish.authoring.checking import Outcome
from kheish.domain.personas import Persona
from kheish.domain.playbooks import versions
from kheish.domain.playbooks.versions import RELEASES
from kheish.domain.schedules.definition import ScheduleFile
from kheish.state import pins
from kheish.state.state import State
from kheish.store.edits import problems as words
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.problems import Problem


async def warn(state: State, outcome: Outcome) -> None:
    """Add a warning to each checked file that names an absent Playbook or skill."""
    for path, parsed in outcome.parsed.items():
        found: list[Problem] = []
        match parsed.value:
            case ScheduleFile() as schedule:
                found = [one async for one in _playbook(state, outcome, parsed, schedule)]
            case Persona() as persona:
                found = list(_skills(state, outcome, parsed, persona))
        if found:
            outcome.problems[path] = [*outcome.problems.get(path, ()), *found]


async def _playbook(
    state: State, outcome: Outcome, parsed: Parsed[Any], schedule: ScheduleFile
) -> AsyncIterator[Problem]:
    """Yield a warning if the Playbook of a schedule has neither a draft nor a published version."""
    if schedule.start.flow is None:
        return
    playbook = schedule.start.flow.playbook.partition("@")[0]
    known = _known(state, outcome, "playbooks")
    if playbook in known:
        return
    if ids.is_slug(playbook):
        async with pins.owner(state, RELEASES, playbook):
            if versions.versions(state, playbook):
                return
    yield _warning(known, parsed, ("start", "flow", "playbook"), "Playbook", playbook, "until it is published, "
                   "each fire fails")  # fmt: skip


def _skills(state: State, outcome: Outcome, parsed: Parsed[Any], persona: Persona) -> Iterator[Problem]:
    """Yield a warning for each skill of a persona that the state root lacks."""
    settings = state.definitions.config.skills
    elsewhere = settings.workspace == "on" or settings.folders
    effect = "only where a workspace or a configured folder has it, it is loaded" if elsewhere else "it is not loaded"
    known = _known(state, outcome, "skills") if persona.default_skills else set()
    for at, name in enumerate(persona.default_skills):
        if name not in known:
            yield _warning(known, parsed, ("default_skills", at), "skill", name, effect)


def _known(state: State, outcome: Outcome, kind: str) -> set[str]:
    """Return the ids of a kind that are in force after the check."""
    stay = {id for id, one in state.definitions.by_kind[kind].items() if one.path not in outcome.concerned}
    return stay | {one.id for one in outcome.world.values() if one.kind == kind}


def _warning(
    known: Iterable[str], parsed: Parsed[Any], keys: tuple[str | int, ...], noun: str, name: str, effect: str
) -> Problem:
    near = words.nearest(name, known)
    meant = f"; did you mean {near!r}?" if near else ""
    message = f"there is no {noun} {name!r} in the state root{meant}: {effect}"
    return parsed.at(keys, message, code="dangling_reference", severity="warning", suggestion=near)
