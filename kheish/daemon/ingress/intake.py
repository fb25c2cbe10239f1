"""Intake of arrivals: the receipt of a verified request, in one group with the run, the Flow or the message that it
leads to. A duplicate leads to the receipt that was there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from kheish import ids
from kheish.auth.tokens import Principal
from kheish.authoring.playbooks import source as sources
from kheish.authoring.playbooks.source import Read
from kheish.daemon.ingress.opening import open_session
from kheish.daemon.workspaces import Workspaces
from kheish.domain import events, intake
from kheish.domain.assets import asset as assets
from kheish.domain.channels import naming, posting, rooms
from kheish.domain.connectors import connector as connectors, receipt as receipts, templates
from kheish.domain.connectors.arrival import Arrival, Moved
from kheish.domain.connectors.definition import AUDIENCE, ConnectorFile, is_listed
from kheish.domain.events import INGRESS, Draft, Item
from kheish.domain.events.channels import Author
from kheish.domain.flows import inputs as flow_inputs, start as flow_start
from kheish.domain.flows.start import Start
from kheish.domain.schedules.definition import NewSession
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import Invalid, NotFound, SenderNotAllowed
from kheish.runtime import judging
from kheish.state import pins
from kheish.state.state import State

_FILE = Principal(name="connectors", role="admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """The outcome of a request: the run, the Flow or the message that it led to."""

    receipt_id: str
    run_id: str | None = None
    flow_id: str | None = None
    message_id: str | None = None
    session_id: str | None = None
    is_duplicate: bool = False

    def view(self) -> dict[str, Any]:
        """Return the answer to the sender."""
        return {
            "receipt_id": self.receipt_id,
            "run_id": self.run_id,
            "flow_id": self.flow_id,
            "message_id": self.message_id,
            "duplicate": self.is_duplicate,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """A request that is being taken in."""

    connector_id: str
    file: ConnectorFile
    arrival: Arrival
    items: tuple[Item, ...]
    receipt_id: str
    person: str | None
    fields: dict[str, Any]

    @property
    def by(self) -> str:
        """The actor of what it leads to."""
        return f"{AUDIENCE}{self.connector_id}"


class Intake:
    """The intake of all connectors."""

    def __init__(self, state: State, workspaces: Workspaces, read: Read) -> None:
        self._state = state
        self._workspaces = workspaces
        self._read = read
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(
        self, connector_id: str, file: ConnectorFile, arrival: Arrival, items: Sequence[Item] | None = None
    ) -> Led:
        """Take a request in, and return what it led to; nothing is durable yet. `items` are the run's, where the
        arrival has more than text. Raises SenderNotAllowed, and as `intake.submit` and `flow_start.start`."""
        check_allowed(file, arrival)
        names = [receipts.key_id(connector_id, key) for key in arrival.keys]
        async with self._alone(names), pins.owner(self._state, INGRESS, connector_id):
            earlier = await receipts.find(self._state, connector_id, arrival.keys)
            if earlier is not None:
                return _led(earlier)
            moved = connectors.find(self._state, connector_id).moved
            chat = arrival.fields.get("chat")
            known = {"chat": connectors.known_place(moved, str(chat))} if chat is not None else {}
            taking = Taking(
                connector_id=connector_id,
                file=file,
                arrival=arrival,
                items=tuple(items) if items is not None else (Item(text=arrival.content),),
                receipt_id=ids.new("rcpt"),
                person=file.people.get(arrival.sender or ""),
                fields={**arrival.fields, **known},
            )
            if file.target.channel is not None:
                return await self._post(taking)
            if file.target.flow is not None:
                return await self._start_flow(taking)
            return await self._submit(taking)

    async def refuse(self, connector_id: str, arrival: Arrival, reason: str) -> None:
        """Record a request that leads to nothing, and would not the next time."""
        async with pins.owner(self._state, INGRESS, connector_id):
            if await receipts.find(self._state, connector_id, arrival.keys) is None:
                refused = events.IngressReceived(
                    connector_id=connector_id, receipt_id=ids.new("rcpt"), keys=arrival.keys, sender=arrival.sender,
                    what=arrival.what, place=arrival.place, offset=arrival.offset, refused=reason[:2000],
                )  # fmt: skip
                self._state.append(refused.on())

    async def move_chat(self, connector_id: str, old: str, new: str, offset: int | None) -> None:
        """Record that a chat has another id."""
        async with pins.owner(self._state, INGRESS, connector_id):
            if new not in connectors.find(self._state, connector_id).moved:
                moved = events.ChatMoved(connector_id=connector_id, old=old, new=new, offset=offset)
                self._state.append(moved.on())

    async def move_offset(self, connector_id: str, offset: int) -> None:
        """Record the position of a poll loop after updates that led to nothing."""
        async with pins.owner(self._state, INGRESS, connector_id):
            if (connectors.find(self._state, connector_id).offset or 0) < offset:
                self._state.append(events.OffsetMoved(connector_id=connector_id, offset=offset).on())

    @asynccontextmanager
    async def _alone(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Keep requests with the same keys apart: the second finds the receipt of the first."""
        async with AsyncExitStack() as held:
            for name in sorted(set(names)):
                lock = self._locks.get(name)
                if lock is None:
                    lock = self._locks[name] = asyncio.Lock()
                await held.enter_async_context(lock)
            yield

    # --- runs ---------------------------------------------------------------------------------------------------------

    async def _submit(self, taking: Taking) -> Led:
        state, run_id = self._state, ids.new("run")
        async with AsyncExitStack() as held:
            session_id, binding, bound = await self._session_id(taking, held, "session")
            await held.enter_async_context(pins.session_or_new(state, session_id))
            made, session = await self._open(taking, session_id)
            given = _input(taking, session_id, run_id)
            await held.enter_async_context(assets.using(state, given.items))
            schemas = intake.schemas_key(session, given)
            if schemas is not None:
                await judging.run(intake.check_schemas, session.settings["input_contract"], given)
            if made is None or state.find(Session, session_id) is not None:  # it was created meanwhile
                made, session = None, sessions.accepting(state, session_id)
            sessions.check_undeleted(state, session_id)
            _, submitted = intake.draft(state, session, replace(given, checked=schemas))
            receipt = _receipt(taking, session_id=session_id, run_id=run_id, binding=binding)
            run = submitted.on(session_id, run_id, by=taking.by)
            state.append(receipt, *bound, *([made] if made is not None else []), run)
        return Led(receipt_id=taking.receipt_id, run_id=run_id, session_id=session_id)

    async def _session_id(
        self, taking: Taking, held: AsyncExitStack, prefix: str
    ) -> tuple[str, str | None, list[Draft]]:
        """Return the session of a request, its binding key, and the entry of a new key."""
        policy = taking.file.policy
        if policy.fixed is not None:
            return policy.fixed, None, []
        if policy.payload is not None:
            if taking.arrival.session is None:
                raise Invalid("session.payload picks nothing from the body.")
            return ids.check_slug(taking.arrival.session, "the session in the body"), None, []
        if policy.key is None:
            return ids.new(prefix), None, []
        connector_id = taking.connector_id
        key, values = templates.render(policy.key, taking.fields)
        await held.enter_async_context(self._alone([f"binding {connector_id} {key}"]))
        known = await receipts.find_bound(self._state, connector_id, key, values)
        if known.session_id is not None and not known.renews:
            return known.session_id, key, []
        bound = events.SessionBound(
            connector_id=connector_id, key=key, values=values, renews=known.renews,
            session_id=known.session_id or receipts.session_of(connector_id, key, values),
        )  # fmt: skip
        return bound.session_id, key, [bound.on(by=taking.by)]

    async def _open(self, taking: Taking, session_id: str) -> tuple[Draft | None, Session]:
        policy = taking.file.policy
        return await open_session(
            self._state,
            self._workspaces,
            session_id,
            policy.new or policy.settings or NewSession(),
            labels={"connector": taking.connector_id},
            title=taking.file.title,
            caller=_FILE,
            by=taking.by,
        )

    # --- Flows and channels -------------------------------------------------------------------------------------------

    async def _start_flow(self, taking: Taking) -> Led:
        state, flow_id, wanted = self._state, ids.new("flow"), taking.file.target.flow
        assert wanted is not None
        playbook, _, version = wanted.playbook.partition("@")
        source = await sources.source(state, self._read, playbook, version or wanted.version, flow_id)
        if unknown := sorted(wanted.inputs.keys() - source.manifest.inputs.keys()):
            raise NotFound(f"Playbook {playbook!r} has no input {unknown[0]!r}, which target.flow.inputs gives.")
        fields = {**taking.fields, "content": taking.arrival.content, "actor": taking.arrival.sender}
        given = {
            name: templates.fill(value, fields) if isinstance(value, str) else value
            for name, value in wanted.inputs.items()
        }
        inputs = await judging.run(flow_inputs.complete, source.manifest, given)
        async with AsyncExitStack() as held:
            session_id, binding, bound = await self._session_id(taking, held, "flow")
            if taking.file.policy.new is not None:
                session_id = flow_id
            await held.enter_async_context(pins.session_or_new(state, session_id))
            is_new = state.find(Session, session_id) is None
            workspace = await self._workspaces.default(session_id) if is_new else None
            start = Start(
                flow_id=flow_id,
                source=source,
                inputs=inputs,
                by=taking.by,
                session_id=session_id,
                workspace=workspace,
                reply_targets=taking.file.answers(taking.connector_id, taking.arrival.place),
            )
            receipt = _receipt(taking, session_id=session_id, flow_id=flow_id, binding=binding)
            flow_start.start(state, start, beside=[receipt, *bound])
        return Led(receipt_id=taking.receipt_id, flow_id=flow_id, session_id=session_id)

    async def _post(self, taking: Taking) -> Led:
        state, target, message_id = self._state, taking.file.target.channel, ids.new("post")
        assert target is not None
        async with rooms.changing(state, target.id):
            file = rooms.file_of(state, target.id)
            member = file.person(taking.person)
            names = await naming.member_names(state, file)
            name = names[member.member] if member is not None else taking.arrival.sender or taking.connector_id
            author = Author(
                kind="human",
                member=member.member if member is not None else None,
                name=name[:200],
                via=taking.by,
                person=taking.person,
            )
            wanted = posting.Wanted(text=taking.arrival.content, thread=target.thread, message_id=message_id)
            posted = await posting.compose(state, target.id, author, wanted, opens=True, by=taking.by)
            state.append(_receipt(taking, message_id=message_id), *posted)
        return Led(receipt_id=taking.receipt_id, message_id=message_id)


def check_allowed(file: ConnectorFile, arrival: Arrival | Moved) -> None:
    """Raise SenderNotAllowed for what the connector's lists do not accept."""
    for value, allowed, what in (
        (arrival.sender, file.allow.senders, "sender"),
        (arrival.chat, file.allow.chats, "chat"),
        (arrival.team, file.allow.teams, "team"),
        (arrival.event, file.allow.events, "event"),
    ):
        if not is_listed(allowed, value):
            raise SenderNotAllowed(f"The connector does not accept the {what} {value!r} (allow.{what}s in its file).")


def _input(taking: Taking, session_id: str, run_id: str) -> intake.Input:
    target = taking.file.target.input
    assert target is not None
    arrival = taking.arrival
    about = {
        "connector": taking.connector_id, "receipt_id": taking.receipt_id, "sender": arrival.sender,
        "person": taking.person, **arrival.place,
    }  # fmt: skip
    first = (Item(text=target.instructions),) if target.instructions is not None else ()
    return intake.Input(
        session_id=session_id,
        items=(*first, *taking.items),
        actor=taking.by,
        source=taking.file.kind,
        metadata={**arrival.metadata, **{name: value for name, value in about.items() if value is not None}},
        route=target.route,
        model=target.model,
        generation=dict(target.generation),
        budget=target.budget.model_dump(exclude_none=True) if target.budget else None,
        completion=tuple(
            one if isinstance(one, str) else one.model_dump(mode="json", exclude_unset=True)
            for one in target.completion
        ),
        reply_targets=taking.file.answers(taking.connector_id, arrival.place),
        checks_ask=True,
        run_id=run_id,
    )


def _receipt(taking: Taking, **led: str | None) -> Draft:
    arrival = taking.arrival
    return events.IngressReceived(
        connector_id=taking.connector_id, receipt_id=taking.receipt_id, keys=arrival.keys, sender=arrival.sender,
        person=taking.person, what=arrival.what, place=arrival.place, offset=arrival.offset, **led,
    ).on(by=taking.by)  # fmt: skip


def _led(doc: Any) -> Led:
    names = ("receipt_id", "run_id", "flow_id", "message_id", "session_id")
    return Led(**{name: doc[name] for name in names}, is_duplicate=True)
