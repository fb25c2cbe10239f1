"""The results of agents as text for a model: framed as what another agent said, in full where they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish.domain.agents import ending
from kheish.domain.agents.agent import Agent
from kheish.domain.events import Spilled, WaitEnded, WaitOpened
from kheish.domain.mailboxes import letters
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.tasks.task import Task
from kheish.runtime.tools.base import Result
from kheish.state.state import State

SHOWN = 24 * 1024  # characters of a result
TAIL = 4000  # characters of the output of a command that ended after the answer

_OUTCOMES: Mapping[str, str] = {
    "done": "",
    "timeout": "The time of the wait is over; agents that have not settled continue.",
    "answered": "The parent answered:",
    "declined": "The parent declined to answer.",
    "cancelled": "The question was cancelled.",
    "interrupted": "The parent was interrupted before it answered.",
    "expired": "The time for an answer is over.",
}


async def document(state: State, agent_id: str) -> dict[str, Any] | None:
    """Return the newest document of an agent, from memory or the index."""
    return await state.recall(Agent, agent_id)


async def text_of(state: State, session_id: str, text: Any) -> str:
    """Return a text of a session in full; it may be a reference to a payload."""
    if isinstance(text, dict):
        text = Spilled(**text)
    if not isinstance(text, Spilled):
        return text or ""
    session = await state.recall(Session, session_id)
    assert session is not None
    return await state.payloads.text(session["path"], text)


async def described(state: State, doc: Mapping[str, Any], status: str | None = None) -> str:
    """Return an agent's standing and result as text."""
    status = status or str(doc["status"])
    head = f"[agent {doc['name']} ({doc['agent_id']}): {status}"
    if doc["status"] == "waiting" and doc["waiting_on"]:
        head += f", waiting on {doc['waiting_on']}"
    if doc["worktree"] is not None:
        head += f", worktree {doc['worktree']['state'] or 'in use'}, branch {doc['worktree']['branch']}"
    if doc["unfinished"]:
        head += "; unfinished: " + ", ".join(f"{one['kind']} {one['id']}" for one in doc["unfinished"])
    result = doc["result"]
    if result is None:
        return f"{head}]"
    if result["error"] is not None:
        return f"{head}]\nIt failed: {result['error']['code']}: {result['error']['message']}"
    output = await text_of(state, doc["session_id"], result["output"])
    cut = len(output) - SHOWN
    more = f"\n[… {cut} more characters; get_agent shows parts of them]" if cut > 0 else ""
    return f"{head}]\n{output[:SHOWN]}{more}"


async def after_wait(state: State, wait: WaitOpened, waited: WaitEnded) -> Result:
    """Return the result of a call that waited for agents."""
    parts = [_OUTCOMES[waited.outcome]] if _OUTCOMES[waited.outcome] else []
    if wait.clarification is not None and waited.outcome == "answered":
        run = await state.recall(Run, wait.clarification)
        parts.append(await text_of(state, run["session_id"], run["output"]) if run is not None else "")
    for agent_id in wait.agents:
        doc = await document(state, agent_id)
        status = waited.statuses.get(agent_id)
        if doc is None:
            parts.append(f"[agent {agent_id}: {status}]")
            continue
        if status == "answered" and doc["result"] is None:
            doc = {**doc, "result": await answer(state, agent_id)}
        parts.append(await described(state, doc, status))
    return Result(content="\n\n".join(parts), is_error=False, detail={"outcome": waited.outcome, **waited.statuses})


async def answer(state: State, agent_id: str) -> dict[str, Any] | None:
    """Return the answer of a child that has not settled, in the form of a result."""
    agent = state.find(Agent, agent_id)
    if agent is None or agent.answer is None:
        return None
    error = agent.answer.error
    return {
        "status": "answered",
        "output": agent.answer.output,
        "error": None if error is None else {"code": error.code, "message": error.message},
    }


async def with_tails(state: State, child: Agent) -> Any:
    """Return the output of a child that settles: its answer, with the ends of commands that ended after it."""
    output = child.answer.output if child.answer is not None else None
    tails = [await _tail(state, child.session_id, id) for id in child.tasks]
    if not any(tails):
        return output
    return "\n\n".join(filter(None, [await text_of(state, child.session_id, output), *tails]))


async def _tail(state: State, session_id: str, task_id: str) -> str:
    task = await state.recall(Task, task_id)
    if task is None or task["output"] is None:
        return ""
    output = (await text_of(state, session_id, task["output"])).rstrip("\n")
    shown = output if len(output) <= TAIL else f"…{output[-TAIL:]}"
    shell = task["shell"] or {}
    how = f"exit status {shell['exit_status']}" if shell.get("exit_status") is not None else task["status"]
    return f"[{task_id} ({task['title']}) ended: {how}]\n{shown}".rstrip()


async def letter(state: State, child: Agent, output: Any) -> letters.Letter:
    """Return the message that brings a settled child's result to its parent. Its id is that of the child's answer, so
    that a repeat posts nothing."""
    answer = child.answer
    error = answer.error if answer is not None else None
    payload: dict[str, Any] = {
        "agent_id": child.agent_id,
        "name": child.name,
        "status": ending.status_of(state, child)[0],
        "output": await text_of(state, child.session_id, output),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
    if child.worktree is not None:
        payload["worktree"] = {"branch": child.worktree.branch, "state": child.worktree_state}
    return letters.Letter(
        type="agent_result",
        sender=letters.sender_of(state.get(Session, child.session_id), child.path),
        payload=payload,
        subject=f"{child.name}: {payload['status']}",
        message_id=f"msg_{child.agent_id.removeprefix('agent_')}-{child.answers}",
        unattended=child.unattended,
    )
