"""Mailboxes by HTTP: an agent's messages, and steering a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Key, Name
from kheish.api.http.operation import bind, get, post
from kheish.api.services import Services
from kheish.api.views import Doc
from kheish.domain.events.mailboxes import Delivery, Sender
from kheish.domain.mailboxes import letters, recipients
from kheish.domain.mailboxes.letters import Letter
from kheish.domain.mailboxes.message import UNTOLD, Message, MessageState, key_of, mailbox
from kheish.domain.runs import Run
from kheish.errors import NotFound, RunStateConflict
from kheish.state import pins

LIST = (*paging.PAGE, paging.choices("state", MessageState))
#: fields of the index's documents that callers do not need
_INTERNAL = ("digest", "structured")


class PostMessage(Body):
    """A message to an agent. The daemon stamps its sender."""

    type: Literal["message"] = "message"
    """The other types come from the daemon alone."""
    payload: str | dict[str, Any]
    """A text or an object, of 64 KiB at most."""
    subject: Annotated[str, Field(min_length=1, max_length=letters.SUBJECT_CHARACTERS)] | None = None
    """A subject, in one line."""
    in_reply_to: Name | None = None
    """The id of the message that this one answers."""
    delivery: Delivery | None = None
    """`next_run`: in a run of its own; `next_turn`: at the next turn of the active run. Without it, the next turn of a
    busy agent, else a run."""
    expires_at: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    """RFC 3339. A message that is still pending then becomes a dead letter."""
    message_id: Name | None = None
    """The same id with the same content is one message. The header Idempotency-Key serves as well."""


class Steer(Body):
    """A user's words to an agent in the middle of a run."""

    content: Annotated[str, Field(min_length=1)]
    """The text, of 64 KiB at most. It answers no approval and no question."""
    idempotency_key: Key | None = None
    """The same key with the same content is one message. It may also be sent as the header Idempotency-Key."""


class PostedMessage(Answer):
    """A message in a mailbox."""

    message_id: str
    session_id: str
    """The session of the recipient."""
    type: str
    """message, agent_result, task_result, task_assignment, clarification, clarification_answer or notice."""
    from_: str
    """The sender as the daemon stamped it: `token:ann`, `agent:agent_01…`, `daemon`."""
    from_name: str | None
    from_session: str | None
    """The sender's session, if it is an agent."""
    to: str
    """The recipient's agent id."""
    subject: str | None
    payload: str | dict[str, Any]
    in_reply_to: str | None
    tainted: bool
    """Whether content from the network may have influenced it."""
    tainted_by: str | None
    delivery: Delivery
    for_run: str | None
    """The run that a user steers with it."""
    state: Literal["pending", "delivering", "delivered", "acked", "dead_letter"]
    """`delivering`: a run is claimed for it; `delivered`: it is before the model; `acked`: the run that had it has
    ended."""
    position: int | None
    """The place among the pending messages, from 1; null for any other state."""
    recipient_status: str
    attempts: int
    last_error: str | None
    posted_at: str
    delivered_at: str | None
    run_id: str | None
    """The run that has it, or is claimed for it."""
    turn: int | None
    """The turn that it came into; null if it came with the run's task."""
    expires_at: str | None
    n: int


class Mailboxes:
    """The resource of `/v1/agents/{agent_id}/mailbox`, and of `/v1/runs/{run_id}/steer`."""

    def __init__(self, services: Services) -> None:
        self._state = services.state

    async def list_mail(self, req: Request, resp: Response, agent_id: str) -> None:
        """Answer with a page of the agent's messages, newest first."""
        session_id = await recipients.resolve(self._state, agent_id)
        query = req.context.query
        statuses: list[str] = [str(state) for state in query.get("state", ())]
        if MessageState.DEAD_LETTER in statuses:
            statuses.append(UNTOLD)
        page = await views.listed(self._state, Message, {**query, "session": session_id, "status": tuple(statuses)})
        media.send(resp, {**page, "items": await self._shown(session_id, page["items"])})

    async def get_mail(self, req: Request, resp: Response, agent_id: str, message_id: str) -> None:
        """Answer with one message."""
        session_id = await recipients.resolve(self._state, agent_id)
        media.send(resp, await self._message(session_id, message_id))

    async def post_mail(self, req: Request, resp: Response, agent_id: str) -> None:
        """Post a message (202)."""
        body = await media.read(req, PostMessage)
        header = req.get_header("Idempotency-Key")
        sender = Sender(actor=req.context.principal)
        letter = Letter(
            type=body.type,
            sender=sender,
            payload=body.payload,
            subject=body.subject,
            in_reply_to=body.in_reply_to,
            delivery=body.delivery,
            expires_at=letters.normal_time(body.expires_at),
            message_id=body.message_id or (_derived(sender, header) if header else None),
        )
        await self._post(resp, await recipients.resolve(self._state, agent_id), letter)

    async def steer_run(self, req: Request, resp: Response, run_id: str) -> None:
        """Post a user's message for the next turn of a run (202)."""
        body = await media.read(req, Steer)
        request = media.idempotency(req, body, f"runs/{run_id}/steer")
        sender = Sender(actor=req.context.principal)
        async with pins.thing(self._state, Run, run_id) as ended:
            run = None if ended is not None else self._state.get(Run, run_id)
            if run is None or run.is_final:
                status = ended["status"] if ended is not None else str(run.status) if run is not None else ""
                raise RunStateConflict(
                    f"The run {run_id} is {status}; only a run that has not ended can be steered.",
                    from_status=status,
                    to_status="steered",
                )
            letter = Letter(
                type="message",
                sender=sender,
                payload=body.content,
                delivery="next_turn",
                for_run=run_id,
                message_id=_derived(sender, request.key) if request is not None else None,
            )
            await self._post(resp, run.session_id, letter)

    async def ack_mail(self, req: Request, resp: Response, agent_id: str, message_id: str) -> None:
        """Record that a caller has read a message; a pending one is not delivered any more."""
        await media.read(req, Body)
        session_id = await recipients.resolve(self._state, agent_id)
        async with self._state.using(session_id):
            doc = await self._message(session_id, message_id)
            if doc["state"] != MessageState.ACKED:
                letters.ack(self._state, session_id, message_id, by=req.context.principal)
        await self._answer(resp, session_id, message_id)

    async def redeliver_mail(self, req: Request, resp: Response, agent_id: str, message_id: str) -> None:
        """Send a dead letter again (202)."""
        await media.read(req, Body)
        session_id = await recipients.resolve(self._state, agent_id)
        async with self._state.using(session_id):
            doc = await views.document(self._state, Message, key_of(session_id, message_id))
            letters.redeliver(self._state, doc, doc["payload"], by=req.context.principal)
        await self._answer(resp, session_id, message_id, status=202)

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _post(self, resp: Response, session_id: str, letter: Letter) -> None:
        async with self._state.using(session_id):
            if letter.message_id is not None:
                await self._state.recall(Message, key_of(session_id, letter.message_id))
            key = letters.post(self._state, session_id, letter)
        await self._answer(resp, session_id, key.removeprefix(f"{session_id}/"), status=202)

    async def _answer(self, resp: Response, session_id: str, message_id: str, status: int = 200) -> None:
        n = self._state.n
        await self._state.durable()
        media.send(resp, await self._message(session_id, message_id), status=status, n=n)

    async def _message(self, session_id: str, message_id: str) -> Doc:
        try:
            doc = await views.document(self._state, Message, key_of(session_id, message_id))
        except NotFound:
            raise NotFound(f"There is no message {message_id!r} in this mailbox.") from None
        return (await self._shown(session_id, [doc]))[0]

    async def _shown(self, session_id: str, docs: Iterable[Doc]) -> list[Doc]:
        """Return documents as callers see them, with their positions in the mailbox."""
        async with self._state.using(session_id):
            box, status = mailbox(self._state, session_id), recipients.recipient_status(self._state, session_id)
            places = {key: at for at, key in enumerate(box.pending, 1)} if box is not None else {}
        shown = []
        for doc in docs:
            more = {"position": places.get(key_of(session_id, doc["message_id"])), "recipient_status": status}
            shown.append({**{name: value for name, value in doc.items() if name not in _INTERNAL}, **more})
        return shown


def _derived(sender: Sender, key: str) -> str:
    """Return the message id of a sender's idempotency key."""
    return f"msg_{hashlib.sha256(f'{sender.actor} {key}'.encode()).hexdigest()[:26]}"


ALL = "/v1/agents/{agent_id}/mailbox"
ONE = f"{ALL}/{{message_id}}"
OPERATIONS = bind(
    Mailboxes,
    get(
        ALL,
        Mailboxes.list_mail,
        "List an agent's messages, newest first.",
        PostedMessage,
        *LIST,
        page=True,
        problems=(404,),
        tie="agent",
    ),
    post(
        ALL,
        Mailboxes.post_mail,
        "Post a message to an agent.",
        PostMessage,
        PostedMessage,
        good=(202,),
        problems=(404, 409, 429),
        key=True,
        tie="agent",
    ),
    get(ONE, Mailboxes.get_mail, "Get one message.", PostedMessage, problems=(404,), tie="agent"),
    post(
        f"{ONE}/ack",
        Mailboxes.ack_mail,
        "Ack a message that was read by the API.",
        None,
        PostedMessage,
        problems=(404, 409),
        tie="agent",
    ),
    post(
        f"{ONE}/redeliver",
        Mailboxes.redeliver_mail,
        "Send a dead letter again.",
        None,
        PostedMessage,
        good=(202,),
        problems=(404, 409, 429),
        tie="agent",
    ),
    post(
        "/v1/runs/{run_id}/steer",
        Mailboxes.steer_run,
        "Add a user's message at the next turn of a run.",
        Steer,
        PostedMessage,
        good=(202,),
        problems=(404, 409, 429),
        key=True,
        tie=Run,
    ),
)
