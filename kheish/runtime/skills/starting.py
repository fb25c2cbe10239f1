"""The skills that a run begins with: those that a user starts with the task, by the request or by `/name`, and those of
its persona."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kheish.domain import runs, scopes, turns
from kheish.domain.events import SkillLoaded, Spilled
from kheish.domain.events.skills import Requester
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.errors import Fault, Invalid, NotFound, WorkspaceSlow
from kheish.runtime.skills import kept, offer as offers
from kheish.runtime.skills.catalog import Found
from kheish.runtime.skills.offer import Offer
from kheish.runtime.skills.service import Loaded, Skills
from kheish.state.state import State

#: runs whose task a user wrote: in a message of an agent, and in a schedule, which an agent can make, `/name` is text
_OF_USERS = frozenset({"input"})
_OF_AGENT = "\n\nARGUMENTS: "
_SLASH = re.compile(r"/([a-z0-9-]{1,64})(?:\s+(.*))?\Z", re.DOTALL)
_FORK = """\
A user starts the skill {name}, which runs in an agent of its own. Call use_skill with the name {name}{arguments} now,
and answer with its result."""


def task(name: str, arguments: str) -> str:
    """Return the task of an agent that a skill runs in."""
    text = f"Do what the skill {name} says, and answer with its result."
    return f"{text}{_OF_AGENT}{arguments}" if arguments else text


async def started(state: State, run: Run) -> list[str]:
    """Return the skills that a user starts with the task of a run, whether they exist or not."""
    command = await _command(state, run)
    return [*run.settings.skills, *([command[0]] if command is not None else [])]


async def offer(state: State, run: Run, turn: Turn, skills: Skills) -> Offer | None:
    """Return what the run is offered, after the skills that it begins with are loaded; None if the run has failed,
    because one of them is missing."""
    is_fork = run.request.source == "agent"
    command = await _command(state, run)
    offered = await skills.offer(run, await started(state, run))
    if turn.turn:
        return offered
    used = {use.name for use in turns.of(state, run.run_id).skills}
    for name, by in _wanted(run, command, offered):
        if name in used:
            continue
        used.add(name)
        arguments = command[1] if command is not None and command[0] == name else ""
        if is_fork and by == "agent":
            arguments = await _rest_of_task(state, run)
        found = offered.visible.get(name)
        try:
            if found is None:
                raise NotFound(f"There is no skill {name!r} here (any more), or the run's scopes exclude it.")
            loaded = await skills.load(found, arguments, run.worker)
        except (NotFound, WorkspaceSlow) as error:
            if by == "persona":
                continue
            runs.fail(state, run.run_id, "skill_unavailable", error.detail)
            return None
        if (current := state.get(Run, run.run_id)).is_final or current.stop_requested:
            return None
        state.append(event(state, run, found, loaded, by, arguments).on(run.session_id, run.run_id))
    return offered


def _wanted(run: Run, command: tuple[str, str] | None, offered: Offer) -> Iterator[tuple[str, Requester]]:
    persona = run.settings.persona or {}
    for name in persona.get("default_skills", ()):
        found = offered.visible.get(name)
        # An agent chooses the agent file, which the workspace may have: a user's skill is not started by it.
        if found is not None and not (run.request.source == "agent" and found.skill.disable_model_invocation):
            yield name, "persona"
    for name in run.settings.skills:
        yield name, "agent" if run.request.source == "agent" else "user"
    if command is not None and (found := offered.visible.get(command[0])) is not None and found.skill.user_invocable:
        yield command[0], "user"


def event(state: State, run: Run, found: Found, loaded: Loaded, by: Requester, arguments: str) -> SkillLoaded:
    """Return the entry of a skill that the run uses; its text is left out if the conversation has it already."""
    text: str | None = loaded.text
    if found.skill.context == "fork" and by == "user":
        given = f" and the arguments {arguments!r}" if arguments else ""
        text = _FORK.format(name=found.name, arguments=given)
    elif is_loaded(state, run, loaded):
        text = None
    return SkillLoaded(use=loaded.use, by=by, arguments=arguments, text=text)


def is_loaded(state: State, run: Run, loaded: Loaded) -> bool:
    """Return whether the conversation has the whole text of this skill in this version already."""
    known = kept.loaded(state, run.session_id).get(loaded.use.name)
    if known is None or known.skill is None or loaded.uses_arguments:
        return False
    return (known.skill.file, known.skill.place) == (loaded.use.file, loaded.use.place)


async def _rest_of_task(state: State, run: Run) -> str:
    """Return the arguments in the task of an agent that a skill runs in."""
    return (await _first_text(state, run)).partition(_OF_AGENT)[2]


async def _first_text(state: State, run: Run) -> str:
    first = run.request.items[0].text if run.request.items else None
    if isinstance(first, Spilled):
        return await state.payloads.text(state.get(Session, run.session_id).path, first)
    return first or ""


async def _command(state: State, run: Run) -> tuple[str, str] | None:
    """Return the skill that the task begins with (`/name`), and the rest of it as arguments."""
    first = run.request.items[0].text if run.request.items else None
    begins = first.preview if isinstance(first, Spilled) else first or ""
    if run.kind not in _OF_USERS or run.request.source == "agent" or not begins.startswith("/"):
        return None
    match = _SLASH.match(await _first_text(state, run))
    return (match[1], (match[2] or "").strip()) if match is not None else None


async def check(skills: Skills, session: Session, names: Sequence[str]) -> None:
    """Raise Invalid, with a fault for each, if a user cannot start one of these skills in a session."""
    if not names:
        return
    listing = await skills.list_for(session.settings["workspace"])
    restrictions = scopes.capability(session.settings, session.settings["persona"], in_flow=False)
    faults = []
    for number, name in enumerate(names):
        found = listing.skills.get(name)
        if found is None:
            known = ", ".join(listing.skills) or "none"
            faults.append(Fault(f"/skills/{number}", f"there is no skill {name!r}; known here: {known[:500]}"))
        elif not offers.leaves(restrictions, name):
            faults.append(Fault(f"/skills/{number}", f"a capability scope of the session excludes the skill {name!r}"))
        elif not found.skill.user_invocable:
            faults.append(Fault(f"/skills/{number}", f"the skill {name!r} is for the model only (user-invocable: no)"))
    if faults:
        raise Invalid("; ".join(f"{fault.path}: {fault.message}" for fault in faults) + ".", errors=faults)
