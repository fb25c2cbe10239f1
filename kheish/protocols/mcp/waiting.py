"""Waiting for a run or a Flow: in slices, with progress, and with forms for what waits for the user."""

from __future__ import annotations

import time

import anyio
import mcp_types as types

from kheish.errors import Unavailable, Unreachable
from kheish.protocols import work as works
from kheish.protocols.mcp import answers
from kheish.protocols.mcp.exchange import Exchange
from kheish.protocols.work import Open, Work

#: seconds that one call waits at most: clients give up on a call after 60
MOST = 50.0
#: seconds of one long poll, and the shortest time between two
_SLICE, _PAUSE = 5.0, 0.3


async def wait(exchange: Exchange, id: str, seconds: float) -> types.CallToolResult:
    """Wait until the run or Flow ends, or waits for a user who cannot be asked here.

    Raises AnswerNeeded, the errors of the operation. The time in which a user looks at a form does not count.
    """
    began, most = time.monotonic(), min(max(seconds, 0.0), MOST)
    await exchange.receive()
    open_since = 0.0
    while True:
        left = most - (time.monotonic() - began - open_since)
        work = await _look(exchange, id, began, left, most)
        if work is None:
            continue
        if work.is_final or work.stage == "blocked":
            return answers.of_work(work)
        if work.stage == "waiting":
            waits = await works.decisions(exchange.access, work, titled=exchange.is_titled, faults=exchange.faults)
            forms = [form for form in waits.forms if form.key not in exchange.closed]
            if not forms or not await exchange.can_ask():
                return answers.of_work(work, await _advice(exchange, work, waits))
            asked_at = time.monotonic()
            await exchange.ask(work, forms)
            open_since += time.monotonic() - asked_at
        elif left <= 0:
            return answers.of_work(work, ["It continues; call wait again."])


async def _look(exchange: Exchange, id: str, began: float, left: float, most: float) -> Work | None:
    """Return the work after one long poll; None while the daemon restarts. Raises the errors of the operation."""
    asked_at = time.monotonic()
    try:
        work = await works.read(exchange.access, id, wait=max(0.0, min(left, _SLICE)))
    except (Unreachable, Unavailable) as error:
        if left <= 0 or not exchange.access.patience:
            raise
        await exchange.progress(began, most, f"the daemon is away: {error.detail}")
        await anyio.sleep(min(left, 1.0))
        return None
    await exchange.progress(began, most, work.summary)
    if work.stage == "working" and time.monotonic() - asked_at < _PAUSE:
        await anyio.sleep(max(0.0, min(left, _PAUSE)))
    return work


async def _advice(exchange: Exchange, work: Work, waits: Open) -> list[str]:
    """Return how a user answers what this client does not show."""
    ids = [*work.approvals, *work.questions]
    if not (await exchange.rights()).may_answer:
        why = "this token may not answer"
    elif await exchange.can_ask():
        why = "the user left the form open" if waits.forms else "there is no form for it"
    else:
        why = "this client shows no forms"
    how = "A user answers in the console, by `kheish inbox`, or in the files under pending/ of the state root."
    return [f"It waits for a user ({', '.join(ids)}), and {why}. {how} Then call wait again.", *waits.notes]
