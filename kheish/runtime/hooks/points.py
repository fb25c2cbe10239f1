"""The points of a run at which its hooks run: its beginning, between turns, around a compaction, and its end."""

from __future__ import annotations

from typing import Any

from kheish.domain import events, messages, runs
from kheish.domain.events import HooksRan, Spilled, Text
from kheish.domain.hooks import progress
from kheish.domain.hooks.progress import HookSession
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.runtime.hooks.service import Hooks
from kheish.state.state import State


async def before_turn(state: State, run: Run, turn: Turn, hooks: Hooks | None) -> bool:
    """Run the hooks that are due before the next model call. Returns False if the loop has to look again: they were
    chosen, or the run has ended."""
    if hooks is None:
        return True
    own = progress.of(state, run.run_id)
    if own is None:
        return not (_begins(turn) and state.definitions.by_kind["hooks"] and await hooks.choose(run))
    return await _begin(state, run, hooks) and await _after_calls(state, run, turn, hooks)


def _begins(turn: Turn) -> bool:
    return turn.answers == 0 and turn.requested is None and not turn.nudged and turn.compactions == 0


async def _begin(state: State, run: Run, hooks: Hooks) -> bool:
    """Announce the start of the session or the agent, and the prompt."""
    child = hooks.agent_of(run)
    started = state.find(HookSession, run.session_id) is not None
    start = "subagent_start" if child is not None else "session_start"
    if not started and hooks.is_ahead(run, start, start):
        source = _source(state, run)
        fields: dict[str, Any] = {"source": source} if child is None else {}
        kind = (child.agent or child.name) if child is not None else source
        if not _passed(state, run, await hooks.at(run, start, start, fields, subjects=(kind,)), start):
            return False
    prompt = "user_prompt_submit"
    if child is None and hooks.is_ahead(run, prompt, prompt):
        text = await _prompt(state, run)
        ran = await hooks.at(run, prompt, prompt, {"prompt": text})
        if ran is not None and ran.decision == "deny":
            state.append(ran.on(run.session_id, run.run_id))
            runs.fail(
                state, run.run_id, "prompt_refused", f"The hook {ran.decided_by} refused the prompt: {ran.reason}"
            )
            return False
        return _passed(state, run, ran, prompt)
    return True


def _source(state: State, run: Run) -> str:
    """Return how the session starts: `resume` if it has history."""
    known = state.table(messages.Conversation, run.session_id).get(run.session_id)
    earlier = known is not None and any(one.run_id != run.run_id for one in known.messages)
    return "resume" if earlier or state.get(Session, run.session_id).forked_from else "startup"


async def _prompt(state: State, run: Run) -> str:
    path = state.get(Session, run.session_id).path
    texts = [item.text for item in run.request.items if item.text is not None]
    return "\n\n".join([await state.payloads.text(path, one) if isinstance(one, Spilled) else one for one in texts])


async def _after_calls(state: State, run: Run, turn: Turn, hooks: Hooks) -> bool:
    """Run the hooks after all calls of an answer."""
    point = f"post_tool_batch:{turn.turn}"
    if not turn.calls or turn.nudged or turn.checking or not hooks.is_ahead(run, "post_tool_batch", point):
        return True
    shown = [{"tool_name": call.call.name, "tool_use_id": call.id} for call in turn.calls]
    ran = await hooks.at(run, "post_tool_batch", point, {"tool_calls": shown})
    if ran is not None and ran.decision == "deny":
        state.append(ran.on(run.session_id, run.run_id))
        runs.halt(state, run.run_id, f"hook {ran.decided_by}: {ran.reason}")
        return False
    return _passed(state, run, ran, point)


def _passed(state: State, run: Run, ran: HooksRan | None, point: str) -> bool:
    """Journal the outcome at a point. Returns False if a hook has ended the run."""
    if ran is None:
        ran = HooksRan(event=point.partition(":")[0], point=point, outcomes=())
    state.append(ran.on(run.session_id, run.run_id))
    return not is_stopped(state, run, ran)


def is_stopped(state: State, run: Run, ran: HooksRan | None) -> bool:
    """Return whether a hook has ended the run by `continue: false`; the run is ended then."""
    if ran is None or ran.stop_reason is None:
        return False
    runs.halt(state, run.run_id, ran.stop_reason)
    return True


async def may_stop(state: State, run: Run, turn: Turn, text: Text, hooks: Hooks | None) -> bool:
    """Return whether the hooks let a run end with this answer. Otherwise the model got the reason, or the run has
    ended."""
    own = progress.of(state, run.run_id)
    if hooks is None or own is None:
        return True
    moment = "subagent_stop" if hooks.agent_of(run) is not None else "stop"
    point = f"{moment}:{turn.turn}"
    if not hooks.is_ahead(run, moment, point):
        return True
    if isinstance(text, Spilled):
        text = await state.payloads.text(state.get(Session, run.session_id).path, text)
    fields = {"stop_hook_active": own.refused > 0, "last_assistant_message": text}
    child = hooks.agent_of(run)
    kind = (child.agent or child.name) if child is not None else ""
    ran = await hooks.at(run, moment, point, fields, subjects=(kind,) if kind else ())
    if ran is None or ran.decision != "deny" or ran.stop_reason is not None:
        return _passed(state, run, ran, point)
    said = ran.on(run.session_id, run.run_id)
    if own.refused >= progress.STOPS:
        state.append(said)
        why = f"The hook {ran.decided_by} refused to let the run end {own.refused + 1} times. Its reason: {ran.reason}"
        runs.fail(state, run.run_id, "stop_hook_limit", why)
        return False
    nudge = f"The hook {ran.decided_by} does not let you finish yet: {ran.reason}"
    state.append(said, events.Nudged(text=nudge, reason="stop_hook").on(run.session_id, run.run_id))
    return False


async def may_compact(state: State, run: Run, turn: Turn, hooks: Hooks | None) -> bool:
    """Return whether the hooks let the conversation be compacted."""
    point = f"pre_compact:{turn.turn}.{turn.compactions}"
    own = progress.of(state, run.run_id)
    if hooks is None or own is None:
        return True
    if hooks.is_ahead(run, "pre_compact", point):
        fields = {"trigger": "auto", "custom_instructions": ""}
        ran = await hooks.at(run, "pre_compact", point, fields, subjects=("auto",))
        if not _passed(state, run, ran, point):
            return False
        return ran is None or ran.decision != "deny"
    return point not in own.denied


async def compacted(state: State, run: Run, turn: Turn, hooks: Hooks | None) -> None:
    """Run the hooks after a compaction, and those of a start, whose context it may have removed."""
    if hooks is None or progress.of(state, run.run_id) is None:
        return
    is_child = hooks.agent_of(run) is not None
    for moment, field, subject in (("post_compact", "trigger", "auto"), ("session_start", "source", "compact")):
        point = f"{moment}:{turn.turn}.{turn.compactions}"
        if hooks.is_ahead(run, moment, point) and not (is_child and moment == "session_start"):
            ran = await hooks.at(run, moment, point, {field: subject}, subjects=(subject,))
            if not _passed(state, run, ran, point):
                return
