"""The goal of the agent's own session: `get_goal`, `create_goal`, `update_goal`."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import Field

from kheish import ids
from kheish.domain import intake
from kheish.domain.events import GoalDeclared
from kheish.domain.goals import goal as goals, verbs
from kheish.domain.goals.verbs import Wanted
from kheish.domain.runs import Run
from kheish.domain.schedules import timing
from kheish.domain.schedules.definition import default_zone
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.ids import MOST
from kheish.runtime import judging
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived
from kheish.state import encoding


class GetGoal(Arguments):
    pass


class CreateGoal(Arguments):
    objective: str = Field(
        min_length=1, max_length=verbs.OBJECTIVE_CHARACTERS, description="The result that you work for."
    )
    completion: tuple[Any, ...] = Field(
        default=(),
        max_length=50,
        description="The requirement: texts, {workspace_file: path}, {command: command line} or "
        "{output_matches: JSON Schema}.",
    )
    tokens: int | None = Field(None, ge=1, le=MOST, description="A limit of input and output tokens.")
    cost_usd: float | None = Field(None, gt=0, le=MOST, description="A limit of US dollars.")
    wall_time: str | None = Field(None, description="A limit of the time in which its runs work: 30m, 2h.")


class UpdateGoal(Arguments):
    status: Literal["working", "complete"] = Field(description="complete: a claim, which is checked.")
    next: str | None = Field(None, max_length=verbs.NEXT_CHARACTERS, description="With working: your next step.")
    wait_until: str | None = Field(
        None, description="With working: the next turn is not before this time (2026-12-01T09:00Z) or duration (15m)."
    )
    why: str | None = Field(None, max_length=verbs.NEXT_CHARACTERS, description="With complete: what was reached.")


async def _get(arguments: GetGoal, context: Context) -> Result:
    goal = goals.find(context.state, context.session_id)
    if goal is None:
        return Result(content="This session has no goal.")
    doc = encoding.plain(goals.view(goal))
    return Result(content=orjson.dumps(doc, option=orjson.OPT_INDENT_2).decode(), detail={"goal_id": goal.goal_id})


async def _create(arguments: CreateGoal, context: Context) -> Result:
    state, goal_id = context.state, derived("goal", context.key)
    try:
        limits = {"tokens": arguments.tokens, "cost_usd": arguments.cost_usd,
                  "wall_time": verbs.seconds(arguments.wall_time)}  # fmt: skip
        verbs.read_completion(arguments.completion)
        await judging.run(verbs.check_schemas, arguments.completion)
        if arguments.cost_usd is not None:
            intake.check_priced(state, state.get(Session, context.session_id))
        wanted = Wanted(objective=arguments.objective, completion=arguments.completion, limits=limits)
        drafts = verbs.create(state, state.get(Run, context.run_id), goal_id, wanted, by=context.agent_id)
    except KheishError as error:
        raise ToolError(error.detail) from error
    content = "The goal is set. After this run you get further turns for it, until you claim that it is complete."
    return Result(content=content, detail={"goal_id": goal_id}, drafts=tuple(drafts))


async def _update(arguments: UpdateGoal, context: Context) -> Result:
    try:
        event = GoalDeclared(
            status=arguments.status,
            next=arguments.next,
            wait_until=_time(arguments.wait_until, context),
            why=arguments.why,
        )
        drafts = verbs.declare(context.state, context.state.get(Run, context.run_id), event, by=context.agent_id)
    except KheishError as error:
        raise ToolError(error.detail) from error
    if arguments.status == "complete":
        content = "Your claim is noted; it is checked after this run."
    elif event.wait_until is not None:
        content = f"Noted. You get the next turn at {event.wait_until}; end this one if nothing is left."
    else:
        content = "Your next step is noted."
    if verbs.get(context.state, context.session_id).status == "paused":
        content = "Noted. The goal is paused: your word has effect once a person resumes it."
    return Result(content=content, detail={"status": arguments.status}, drafts=tuple(drafts))


def _time(text: str | None, context: Context) -> str | None:
    """Return a time or a duration from now as the journal has times. Raises ToolError."""
    if text is None:
        return None
    try:
        return ids.stamp(context.state.clock() + ids.duration(text))
    except ValueError:
        pass
    try:
        return ids.stamp(timing.instant(text, default_zone()))
    except (ValueError, OverflowError) as error:
        raise ToolError(f"wait_until: {error}; or a duration such as 15m.") from error


TOOLS = (
    Tool(
        name="get_goal",
        description="Return the goal of this session, with its status, requirement, budget and usage.",
        arguments=GetGoal,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_get,
    ),
    Tool(
        name="create_goal",
        description=(
            "Set a goal for this session that you pursue in further runs by yourself. Only if you were asked to work "
            "towards something beyond this run; one goal at a time."
        ),
        arguments=CreateGoal,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_create,
    ),
    Tool(
        name="update_goal",
        description=(
            "Say where you are with the goal of this session, at the end of each turn for it: working with your next "
            "step (and wait_until, if you wait for something), or complete. The claim is checked."
        ),
        arguments=UpdateGoal,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_update,
    ),
)
