"""A run for a user interface: started or resumed, shown to its end or to the next interrupt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from kheish.client import requests
from kheish.client.run import RUN_ENDS
from kheish.errors import Conflict, Invalid, KheishError, NotFound
from kheish.protocols import dialogs, lines, needs, work as works
from kheish.protocols.access import Access
from kheish.protocols.agui import inputs
from kheish.protocols.agui.events import VERSION, Events, frame
from kheish.protocols.agui.inputs import Resume, RunInput
from kheish.protocols.dialogs import Form, NotShown
from kheish.protocols.openai import failures, messages
from kheish.protocols.speech import ENDED, NEEDS_USER

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

VIA = "agui"
#: characters of a digest within the id of an interrupt: an answer is bound to what was shown
_BOUND = 16
_DECIDED = ("approval.decided", "approval.resolved", "question.answered")


async def begin(access: Access, given: RunInput) -> tuple[RunView, int]:
    """Return the run of a request, and the event after which it is shown. Raises KheishError."""
    if given.resume:
        return await _resume(access, given)
    told, choice = inputs.conversation(given), given.choice
    is_new = False
    try:
        await access.send(requests.get_session(given.session))
    except NotFound:
        is_new = True
        await access.send(
            requests.create_session(
                given.session, persona=choice.persona, route=choice.route, workspace=choice.workspace
            )
        )
    run = await access.send(
        requests.start_run(
            given.session,
            items=messages.task(told, begins=is_new, instructed=not is_new),
            source=VIA,
            route=choice.route,
            idempotency_key=given.key,
            metadata={VIA: {"thread": given.thread_id, "run": given.run_id}},
        )
    )
    return run, 0


async def _resume(access: Access, given: RunInput) -> tuple[RunView, int]:
    """Send the answers, and return the run that waited for them. Raises KheishError."""
    found: RunView | None = None
    after = 0
    for entry in given.resume or ():
        id, _, bound = entry.interrupt_id.partition(".")
        read: Any = requests.get_approval if id.startswith("appr_") else requests.get_question
        asked: Any = await access.send(read(id))
        if asked["session_id"] != given.session:
            raise Invalid(f"{entry.interrupt_id} is no interrupt of this thread.")
        if found is None:
            waiting = await access.send(requests.get_run(asked["run_id"]))
            found, after = waiting, waiting["n"]
        if asked["status"] == "pending":
            await _answer(access, asked, entry, bound)
        else:
            after = min(after, await _decided(access, asked, id) or after)
    if found is None:
        raise Invalid("resume is empty.")
    return found, after


async def _decided(access: Access, asked: Any, id: str) -> int | None:
    """Return the event that decided an approval or a question. A repeated request shows what came after it."""
    async for event in lines.read(access, asked["session_id"], run=asked["run_id"], kind=_DECIDED):
        if id in (event.data.get("approval_id"), event.data.get("question_id")):
            return event.n
    return None


async def _answer(access: Access, asked: Any, entry: Resume, bound: str) -> None:
    form = _form(asked)
    if form.bound[:_BOUND] != bound:
        raise Conflict(f"{form.key} has changed since it was shown; read it again.")
    payload = entry.payload if isinstance(entry.payload, dict) else {}
    if entry.status == "cancelled":
        if form.key.startswith("appr_"):
            payload = {"decision": "deny", "reason": "dismissed by the user"}
        else:
            with suppress(Conflict):
                await access.send(requests.decline_question(form.key, "dismissed by the user"))
            return
    try:
        with suppress(Conflict):  # another user was first: the run shows the outcome
            await works.decide(access, form, payload, via=VIA)
    except ValueError as error:
        raise Invalid(f"The payload of {entry.interrupt_id} cannot be used: {error}") from error


def _form(asked: Any) -> Form:
    """Return the form of an approval or a question. Raises Invalid if a client cannot answer it."""
    try:
        return dialogs.of_approval(asked) if "approval_id" in asked else dialogs.of_question(asked)
    except NotShown as why:
        raise Invalid(str(why)) from why


async def stream(access: Access, given: RunInput, run: RunView, after: int) -> AsyncIterator[bytes]:
    """Yield the events of a run up to its end, or to the next interrupt. An error becomes the last event."""
    about = {"threadId": given.thread_id, "runId": given.run_id}
    yield frame({"type": "RUN_STARTED", **about, "protocolVersion": VERSION})
    events = Events(run["run_id"])
    try:
        async for document in _shown(access, run, after, events):
            yield frame(document)
        run = await access.send(requests.get_run(run["run_id"]))
        for document in events.finish(run["output"]):
            yield frame(document)
        yield frame({**await _end(access, run), **about})
    except KheishError as error:
        yield frame({"type": "RUN_ERROR", "message": error.detail, "code": error.code})


async def _shown(access: Access, run: RunView, after: int, events: Events) -> AsyncIterator[dict[str, Any]]:
    if await _is_held(access, run):
        async for document in _past(access, run, after, events):
            yield document
        return
    async with aclosing(access.follow(requests.run_events(run["run_id"]), after=after)) as following:
        async for event in following:
            if event.run != run["run_id"]:
                continue
            for document in events.of(event):
                yield document
            if event.kind in RUN_ENDS:
                return
            is_waiting = event.kind == "run.waiting" and event.data.get("status") in NEEDS_USER
            if is_waiting and await _is_held(access, run):
                async for document in _past(access, run, event.n or 0, events):
                    yield document
                return


async def _past(access: Access, run: RunView, after: int, events: Events) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a run that waits, after `after`: it may wait since a later event than was shown."""
    async for event in lines.read(access, run["session_id"], run=run["run_id"], after=after):
        for document in events.of(event):
            yield document


async def _is_held(access: Access, run: RunView) -> bool:
    return await needs.blocking(access, await access.send(requests.get_run(run["run_id"]))) is not None


async def _end(access: Access, run: RunView) -> dict[str, Any]:
    """Return the last event of a run. Raises NoAnswer."""
    if run["status"] not in ENDED:
        return {"type": "RUN_FINISHED", "outcome": {"type": "interrupt", "interrupts": await _interrupts(access, run)}}
    if run["status"] in ("cancelled", "interrupted"):
        return {"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}
    failures.check(run)
    return {"type": "RUN_FINISHED", "result": run["output"], "outcome": {"type": "success"}}


async def _interrupts(access: Access, run: RunView) -> Sequence[dict[str, Any]]:
    holder = await needs.blocking(access, run) or run
    found: list[dict[str, Any]] = []
    for id in (*holder["pending_approvals"], *holder["pending_questions"]):
        read: Any = requests.get_approval if id.startswith("appr_") else requests.get_question
        asked = await access.send(read(id))
        reason = "kheish:approval" if "approval_id" in asked else "kheish:question"
        about = {"reason": reason, "expiresAt": asked["expires_at"]}
        try:
            form = _form(asked)
        except Invalid as why:
            found.append({"id": id, **about, "message": f"{why.detail} Answer it by `kheish inbox`."})
        else:
            shown = {"message": form.message, "responseSchema": dict(form.schema)}
            found.append({"id": f"{id}.{form.bound[:_BOUND]}", **about, **shown})
    return [{name: value for name, value in one.items() if value is not None} for one in found]
