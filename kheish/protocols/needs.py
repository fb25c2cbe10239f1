"""Waiting for a run, and instructions for the user of a client without forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kheish.client import requests
from kheish.errors import KheishError
from kheish.protocols.access import Access
from kheish.protocols.speech import ENDED, NEEDS_USER
from kheish.store.git.textconv import one_line, visible
from kheish.texts import answer_command

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

#: one long poll, and one of a queued run, whose predecessor may begin to wait
_SLICE, _QUEUED = "20s", "3s"
_CALL = 2000


async def settle(access: Access, run: RunView) -> RunView:
    """Return a run when it has ended, or when its session waits for a user. Raises KheishError."""
    while run["status"] not in ENDED | NEEDS_USER:
        is_queued = run["status"] == "queued"
        if is_queued and (await blocking(access, run)) is not None:
            break
        run = await access.send(requests.get_run(run["run_id"], wait=_QUEUED if is_queued else _SLICE))
    return run


async def blocking(access: Access, run: RunView) -> RunView | None:
    """Return the run that needs a user before this one continues: itself, or the one that holds its session."""
    if run["status"] in NEEDS_USER:
        return run
    if run["status"] != "queued":
        return None
    session: Any = await access.send(requests.get_session(run["session_id"]))
    active = session["active_run_id"]
    if active is None or active == run["run_id"]:
        return None
    holder = await access.send(requests.get_run(active))
    return holder if holder["status"] in NEEDS_USER else None


async def told(access: Access, run: RunView) -> str:
    """Return what a user has to do before a run continues. The text names the run.

    Raises KheishError.
    """
    holder = await blocking(access, run)
    if holder is None:
        return ""
    lines = [f"Kheish waits for you ({run['run_id']})."]
    if holder["run_id"] != run["run_id"]:
        lines.append("An earlier task of this conversation has to be decided first; your message is queued.")
    for id in holder["pending_approvals"]:
        lines += await _approval(access, id)
    for id in holder["pending_questions"]:
        lines += await _question(access, id)
    lines.append("It can also be answered in the console, or by `kheish inbox`. Then send a message to continue.")
    return "\n\n".join(lines)


async def _approval(access: Access, id: str) -> list[str]:
    try:
        asked: Any = await access.send(requests.get_approval(id))
    except KheishError:
        return [f"Approve or refuse {id}."]
    call = json.dumps(asked["arguments"], ensure_ascii=False)
    shown = call if len(call) <= _CALL else call[:_CALL] + "…"
    return [
        f"The agent wants to use {one_line(asked['tool'])} ({asked['risk']} risk):",
        _quoted(shown),
        f"Decide with `kheish approvals allow {id}` or `kheish approvals deny {id}`.",
    ]


async def _question(access: Access, id: str) -> list[str]:
    try:
        asked: Any = await access.send(requests.get_question(id))
    except KheishError:
        return [f"Answer {id}."]
    lines = ["The agent asks:"]
    for item in asked["questions"]:
        options = "".join(f"\n- {one_line(one['id'])}: {one_line(one['label'])}" for one in item["options"])
        lines.append(_quoted(item["text"] + options))
    return [*lines, f"Answer with `{one_line(answer_command(asked))}`, for example."]


def _quoted(text: str) -> str:
    return "\n".join("    " + line for line in visible(text).split("\n"))
