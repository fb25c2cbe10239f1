"""Recovery of a call that has started but shows no end (`runs.md`, "What a restart does")."""

from __future__ import annotations

import json
from typing import Any, Literal

from kheish import ids
from kheish.domain import events, runs
from kheish.domain.events import Option, QuestionItem
from kheish.domain.runs import Run, Status
from kheish.domain.turns import Call
from kheish.runtime.executor import Executor
from kheish.runtime.tools.base import Context, Replay, Result, Suspended, Tool, ToolError
from kheish.state.state import State

QUESTION = "outcome"
_SHOWN = 1000  # characters of the call


async def decide(
    executor: Executor, tool: Tool, arguments: Any, context: Context
) -> Result | Suspended | Literal["again", "ambiguous"]:
    """Return the result if the tool can determine it, `again` if repeating is harmless, else `ambiguous`."""
    if tool.recover is not None:
        try:
            result = await executor.recover(tool, arguments, context)
        except ToolError as error:
            return Result(content=str(error), is_error=True)
        if result is not None:
            return result
    return "again" if tool.replay is Replay.SAFE else "ambiguous"


def ask(state: State, run: Run, call: Call) -> bool:
    """Ask a user about the outcome of a call. Returns False, since the run waits."""
    stopped = "The daemon" if run.worker is None else f"The worker {run.worker}, or the daemon,"
    item = QuestionItem(
        id=QUESTION,
        header="Did it happen?",
        text=(
            f"{stopped} was stopped while this call of {call.call.name} was under way, and its end is not recorded: "
            f"this may or may not have happened. Check, and decide what to do.\n\n{_describe_call(call)}"
        ),
        options=(
            Option(id="done", label="It was done", description="Continue; write its result as text if it matters."),
            Option(id="run_again", label="Run it again", description="It did not happen, or may happen twice."),
            Option(id="fail", label="Fail the run", description="Stop here."),
        ),
        free_text=True,
    )
    asked = events.QuestionAsked(question_id=ids.new("q"), call_id=call.id, questions=(item,), purpose="ambiguous")
    waiting = runs.step(state, run.run_id, events.RunWaiting(status=Status.WAITING_FOR_QUESTION))
    state.append(asked.on(run.session_id, run.run_id), waiting)
    return False


def _describe_call(call: Call) -> str:
    """Return the call for the person who checks its outcome: a command as text, else its arguments."""
    arguments = call.started.arguments if call.started is not None else call.call.arguments
    if isinstance(arguments, events.Spilled):
        text = arguments.preview
    elif isinstance(arguments.get("command"), str):
        text = arguments["command"]
    else:
        text = json.dumps(arguments, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def choice(answer: events.QuestionAnswered) -> tuple[str, str]:
    """Return the person's choice (`done`, `run_again`, `fail`) and text. Text alone is the result of a completed call;
    an unanswered question fails the run, for nothing is guessed.
    """
    given = (answer.answers or {}).get(QUESTION)
    if answer.outcome != "answered" or not given:
        return "fail", answer.reason or ""
    text = given.get("text") or ""
    selected = given.get("selected") or []
    return (selected[0] if selected else "done"), text
