"""Plan mode: read first, then request permission to proceed. `enter_plan_mode`, `exit_plan_mode`."""

from __future__ import annotations

from pydantic import Field

from kheish.domain.events import RunModeChanged
from kheish.domain.permissions.decide import LEAVE_PLAN
from kheish.domain.runs import Run
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError


class EnterPlanMode(Arguments):
    reason: str | None = Field(None, max_length=1000, description="Why a plan is needed, in a sentence.")


class ExitPlanMode(Arguments):
    plan: str = Field(
        min_length=1, max_length=50_000, description="The whole plan, in Markdown, for the person who decides about it."
    )


async def _enter(arguments: EnterPlanMode, context: Context) -> Result:
    if _run(context).mode == "plan":
        return Result(content="You are in plan mode already. Call exit_plan_mode with your plan when it is ready.")
    changed = RunModeChanged(mode="plan", reason=arguments.reason)
    return Result(
        content=(
            "You are in plan mode: read, search and ask, but change nothing; calls with effects are denied. When the "
            "plan is ready, call exit_plan_mode with all of it; a person decides whether you go ahead."
        ),
        drafts=(changed.on(context.session_id, context.run_id, by=context.agent_id),),
    )


async def _exit(arguments: ExitPlanMode, context: Context) -> Result:
    run = _run(context)
    if run.mode != "plan":
        raise ToolError("You are not in plan mode; nothing was asked, and nothing has changed.")
    # A session that was created in plan mode leaves it for the default mode, in which calls with effects ask.
    after = run.settings.permission_mode if run.settings.permission_mode != "plan" else "default"
    changed = RunModeChanged(mode=after, reason="a person agreed to the plan")
    return Result(
        content=f"Go ahead with this plan, as it was agreed to:\n\n{arguments.plan}",
        detail={"mode": after},
        drafts=(changed.on(context.session_id, context.run_id, by=context.agent_id),),
    )


def _run(context: Context) -> Run:
    return context.state.get(Run, context.run_id)


TOOLS = (
    Tool(
        name="enter_plan_mode",
        description=(
            "Plan before you act: from here on you can only look, until a person has agreed to your plan. For work "
            "that is large, risky, or can be done in several ways."
        ),
        arguments=EnterPlanMode,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_enter,
    ),
    Tool(
        name=LEAVE_PLAN,
        description=(
            "Show your plan to a person and leave plan mode where they agree. They may change the plan; what this "
            "returns is what to do. Where they refuse you stay in plan mode, with their reason."
        ),
        arguments=ExitPlanMode,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_exit,
    ),
)
