"""The tools of skills: `use_skill` and `list_skills`, and the reading of a skill's files by `read_file`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from kheish.beneath import Door
from kheish.domain.events import Draft
from kheish.domain.permissions import decide as permissions
from kheish.domain.permissions.rules import SandboxFacts, Scopes, ToolCall
from kheish.domain.runs import Run
from kheish.domain.skills import skill as skills
from kheish.errors import KheishError
from kheish.runtime.skills import forking, starting
from kheish.runtime.skills.catalog import Found
from kheish.runtime.skills.service import Skills
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Suspended, Tool, ToolError

USE, LIST = "use_skill", "list_skills"
#: the beginning of the path of a skill's file
PREFIX = "skill:"
_ARGUMENTS = "What the skill is to work on, as it describes; for several, quoted as in a shell."


class UseSkill(Arguments):
    name: str = Field(min_length=1, max_length=64, description="The skill.")
    arguments: str = Field("", max_length=20_000, description=_ARGUMENTS)


class ListSkills(Arguments):
    pass


async def _use(arguments: Any, context: Context) -> Result | Suspended:
    service, run = _service(context), context.state.get(Run, context.run_id)
    found = await _offered(service, run, arguments.name)
    try:
        is_in_it = run.request.source == "agent" and found.name in run.settings.skills
        if found.skill.context == "fork" and not is_in_it:
            drafts = await forking.drafts(context, found, arguments.arguments)
            return Suspended(drafts=tuple(drafts), waiting="waiting_for_agent")
        loaded = await service.load(found, arguments.arguments, run.worker)
    except KheishError as error:
        raise ToolError(f"{error.code}: {error.detail}") from error
    event = starting.event(context.state, run, found, loaded, "model", arguments.arguments)
    draft: Draft = event.on(context.session_id, context.run_id, by=f"agent:{context.agent_id}")
    text = f"The skill {found.name} is loaded; its text follows."
    if event.text is None:
        text = f"The skill {found.name} is loaded already; its text is above."
    return Result(content=text, detail={"skill": found.name, "digest": loaded.use.digest}, drafts=(draft,))


async def _offered(service: Skills, run: Run, name: str) -> Found:
    """Return a skill that the model may use. Raises ToolError."""
    offer = await service.offer(run, run.settings.skills)
    found = offer.visible.get(name)
    may_use = found is not None and (name in offer.names or await _is_started(service, run, name))
    if found is None or not may_use:
        if found is not None and found.skill.disable_model_invocation:
            raise ToolError(f"Only a user can start the skill {name}: with /{name} at the beginning of a task.")
        raise ToolError(f"There is no skill {name!r}. The skills: {', '.join(offer.names) or 'none'}.")
    return found


async def _is_started(service: Skills, run: Run, name: str) -> bool:
    """Return whether a user started the skill with this run's task."""
    return name in await starting.started(service.state, run)


async def _list(arguments: ListSkills, context: Context) -> Result:
    service, run = _service(context), context.state.get(Run, context.run_id)
    offer = await service.offer(run)
    lines = [_line(one) for one in (*offer.visible.values(), *offer.shadowed)]
    return Result(content="\n".join(lines) or "There are no skills.", detail={"skills": len(offer.visible)})


def _line(one: Found) -> str:
    notes = [f"from {one.dir}"]
    notes += ["only users start it"] if one.skill.disable_model_invocation else []
    notes += [f"for {', '.join(one.skill.paths)}"] if one.skill.paths else []
    notes += [f"shadowed by {one.shadowed_by}"] if one.shadowed_by else []
    return f"- {one.name} ({'; '.join(notes)}): {skills.shown(one.skill)}"


def _service(context: Context) -> Skills:
    if context.skills is None:
        raise ToolError("There are no skills here.")
    return context.skills


# --- reading ----------------------------------------------------------------------------------------------------------


async def open_door(path: str, context: Context) -> tuple[Door, str, str]:
    """Return the door to the skill that a path `skill:name/…` begins with, the path there, and the skill's folder as
    users see it. Raises ToolError."""
    name, _, rest = path.removeprefix(PREFIX).partition("/")
    offer = await _service(context).offer(context.state.get(Run, context.run_id))
    found = offer.visible.get(name)
    if found is None:
        raise ToolError(f"There is no skill {name!r}; a path of the workspace that begins like this is ./{path}.")
    return found.door, rest or found.file, name


def check_denied(scopes: Scopes, workspace: Path, descriptor: int, path: str) -> None:
    """Raise ToolError if a rule denies the opened file of a skill by the place in the workspace that it really has.
    Blocks on disk."""
    try:
        real = Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - of the file itself, whatever is moved
        place = real.relative_to(workspace.resolve()).as_posix()
    except (OSError, ValueError):  # outside: rules have judged the path as it is written
        return
    call = ToolCall(tool="read_file", effect="read", arguments={"path": place}, resolved=(place,))
    sandbox = SandboxFacts(mode="off", available=True)
    verdict = permissions.decide(call, mode="default", scopes=scopes, sandbox=sandbox, workspace=workspace)
    if verdict.decision == "deny":
        raise ToolError(f"{path} is {place} of the workspace, which may not be read: {verdict.why}.")


# --- offering ---------------------------------------------------------------------------------------------------------


def offered(tools: Mapping[str, Tool], names: tuple[str, ...], *, exist: bool) -> Mapping[str, Tool]:
    """Return the tools of a run whose model may use these skills; without skills there is no tool for them."""
    left = {name: tool for name, tool in tools.items() if name != USE and (exist or name != LIST)}
    return {**left, USE: use_skill(names)} if names and USE in tools else left


@lru_cache(maxsize=256)
def use_skill(names: tuple[str, ...] | None) -> Tool:
    """Return the tool for the skills with these names; None: for any."""
    arguments: Any = UseSkill
    if names is not None:
        one: Any = Literal[names]
        arguments = create_model(
            "UseSkill",
            __base__=Arguments,
            name=(one, Field(description="The skill.")),
            arguments=(str, Field("", max_length=20_000, description=_ARGUMENTS)),
        )
    return Tool(
        name=USE,
        description=(
            "Load a skill: instructions for a kind of task, which then are part of this conversation, with the files "
            "and scripts that they name. Load it before you begin such a task."
        ),
        arguments=arguments,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_use,
        suspends=True,
    )


LIST_SKILLS = Tool(
    name=LIST,
    description="List the skills that exist here, with their descriptions and where they come from.",
    arguments=ListSkills,
    effect=Effect.READ,
    replay=Replay.SAFE,
    run=_list,
)

TOOLS = (use_skill(None), LIST_SKILLS)
