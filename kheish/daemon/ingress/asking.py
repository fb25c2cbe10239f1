"""Buttons for approvals and questions of runs that came in by a chat: a message is sent where the request came from,
and replaced when it is decided. What is to do next follows from the folded value, so that a restart continues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from kheish import ids
from kheish.daemon.ingress.credentials import Credentials
from kheish.daemon.ingress.intake import Intake
from kheish.daemon.ingress.messages import Messenger, SlackMessages, TelegramMessages
from kheish.daemon.ingress.origins import child_of, receipt_above
from kheish.daemon.spawning import spawn
from kheish.domain import approvals, events, questions
from kheish.domain.approvals import Approval
from kheish.domain.connectors import ask as asks, connector as connectors, wording
from kheish.domain.connectors.arrival import Click
from kheish.domain.connectors.ask import Ask
from kheish.domain.connectors.definition import CHATS, ConnectorFile
from kheish.domain.events import INGRESS, Entry
from kheish.domain.questions import Question
from kheish.errors import (
    ButtonRefused,
    ChatMigrated,
    Conflict,
    Forbidden,
    KheishError,
    NotFound,
    PlatformError,
    PlatformRefused,
    StoreFailed,
    Unavailable,
)
from kheish.state import pins
from kheish.state.encoding import Recorded
from kheish.state.state import State

log = logging.getLogger(__name__)

#: seconds until a failed attempt is repeated: the first, and the longest
_AGAIN, _LONGEST = 2.0, 300.0
_PAGE = 200
HEARD = (
    events.ApprovalRequested,
    events.QuestionAsked,
    events.ApprovalDecided,
    events.ApprovalResolved,
    events.QuestionAnswered,
    events.AskUsed,
)


class Asking:
    """The messages with buttons of all connectors."""

    def __init__(self, state: State, credentials: Credentials, intake: Intake) -> None:
        self._state = state
        self._credentials = credentials
        self._intake = intake
        self._open: dict[str, tuple[str, str]] = {}  # by the approval or question: connector and ask
        self._locks: dict[str, asyncio.Lock] = {}
        self._shown: dict[str, frozenset[str]] = {}  # by ask: the buttons that its message has
        self._later: dict[str, tuple[float, float]] = {}  # by ask: the time of the next attempt, and its delay
        self._is_ready = False

    async def start(self) -> None:
        """Continue the messages that an earlier daemon left open."""
        async for doc in self._listed("ask", ("made", "sent")):
            self._open[doc["thing_id"]] = doc["connector"], doc["ask_id"]
        self._is_ready = True
        for connector_id, ask_id in list(self._open.values()):
            spawn(self._drive(connector_id, ask_id))
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Ask about what was requested just before the earlier daemon ended."""
        for noun in ("approval", "question") if self._has_chats() else ():
            async for doc in self._listed(noun, ("pending",)):
                if (id := doc[f"{noun}_id"]) not in self._open:
                    spawn(self._ask(noun, id, doc["run_id"]))

    async def _listed(self, noun: str, statuses: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
        """Yield the documents of a noun with one of these statuses."""
        cursor: str | None = None
        while True:
            listed = self._state.index.things
            page = await asyncio.to_thread(listed, noun, limit=_PAGE, cursor=cursor, statuses=statuses)
            for doc in page.items:
                yield doc
            cursor = page.next_cursor
            if cursor is None:
                return

    def heard(self, batch: Sequence[Recorded]) -> None:
        """React to requests for decisions, and to decisions."""
        for item in batch:
            self._react(item.entry)

    def _react(self, entry: Entry) -> None:
        match entry.event:
            case events.ApprovalRequested(approval_id=id) if entry.run is not None and self._has_chats():
                spawn(self._ask("approval", id, entry.run))
            case events.QuestionAsked(question_id=id) if entry.run is not None and self._has_chats():
                spawn(self._ask("question", id, entry.run))
            case events.ApprovalDecided(approval_id=id) | events.ApprovalResolved(approval_id=id):
                self._wake(id)
            case events.QuestionAnswered(question_id=id):
                self._wake(id)
            case events.AskUsed(connector_id=connector_id, ask_id=ask_id):
                spawn(self._drive(connector_id, ask_id))  # the next item of a question

    def _wake(self, thing_id: str) -> None:
        if thing_id in self._open:
            spawn(self._drive(*self._open[thing_id]))

    def _has_chats(self) -> bool:
        if not self._is_ready:
            return False
        known = self._state.definitions.by_kind["connectors"]
        return any(one.value.kind in CHATS for one in known.values())

    async def tick(self) -> None:
        """Repeat attempts that failed."""
        now = self._state.clock()
        due = {ask_id for ask_id, (at, _) in self._later.items() if at <= now}
        for connector_id, ask_id in [one for one in self._open.values() if one[1] in due]:
            self._later[ask_id] = now + self._later[ask_id][1], self._later[ask_id][1]
            await self._drive(connector_id, ask_id)

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, about: Any, thing_id: str, run_id: str) -> None:
        try:
            receipt = await receipt_above(self._state, run_id)
            file = self._file(receipt["connector"]) if receipt is not None else None
            if receipt is None or file is None or not receipt["place"] or thing_id in self._open:
                return
            connector_id = str(receipt["connector"])
            cls: type[Any] = Approval if about == "approval" else Question
            async with pins.owner(self._state, INGRESS, connector_id), pins.thing(self._state, cls, thing_id) as ended:
                thing = self._state.find(cls, thing_id) if ended is None else None
                if thing is None or thing.status != "pending" or thing_id in self._open:
                    return
                made = events.AskMade(
                    connector_id=connector_id, ask_id=ids.new("ask"), about=about, thing_id=thing_id,
                    session_id=thing.session_id, run_id=run_id, digest=asks.digest_of(thing), place=receipt["place"],
                    buttons=_buttons(thing) if file.people else {},
                )  # fmt: skip
                self._state.append(made.on())
                self._open[thing_id] = connector_id, made.ask_id
            await self._drive(connector_id, made.ask_id)
        except StoreFailed:
            return
        except KheishError as error:
            log.warning("the %s %s is not asked about in its chat: %s", about, thing_id, error.detail)

    def _file(self, connector_id: str) -> ConnectorFile | None:
        found = self._state.definitions.by_kind["connectors"].get(connector_id)
        return found.value if found is not None and found.value.kind in CHATS else None

    def _messenger(self, connector_id: str, file: ConnectorFile) -> Messenger:
        if file.kind == "slack":
            return SlackMessages(self._credentials.slack(connector_id, file))
        return TelegramMessages(self._credentials.telegram(connector_id, file))

    # --- the next step ------------------------------------------------------------------------------------------------

    async def _drive(self, connector_id: str, ask_id: str) -> None:
        """Take the next steps of a message, until nothing is to do."""
        lock = self._locks.setdefault(ask_id, asyncio.Lock())
        try:
            async with lock, pins.owner(self._state, INGRESS, connector_id):
                while await self._step(connector_id, ask_id):
                    pass
            self._later.pop(ask_id, None)
        except StoreFailed:
            return
        except PlatformRefused as error:
            await self._close(connector_id, ask_id, "unsent", error.detail)
        except (PlatformError, Unavailable, KheishError) as error:
            self._delay(ask_id, error)

    def _delay(self, ask_id: str, error: KheishError) -> None:
        _, before = self._later.get(ask_id, (0.0, 0.0))
        asked = getattr(error, "retry_after", None)
        delay = max(min(before * 2 or _AGAIN, _LONGEST), asked or 0.0)
        self._later[ask_id] = self._state.clock() + delay, delay
        log.warning("a message with buttons is sent later: %s", error.detail)

    async def _step(self, connector_id: str, ask_id: str) -> bool:
        """Take one step; return whether there may be another. Raises PlatformError."""
        ask, file = self._state.find(Ask, ask_id), self._file(connector_id)
        if ask is None or ask.state == "closed":
            return False
        if file is None:
            await self._close(connector_id, ask_id, "unsent", "the connector was removed")
            return False
        view = await self._view(ask)
        messenger = self._messenger(connector_id, file)
        if ask.state == "made":
            if view["status"] != "pending":
                await self._close(connector_id, ask_id, view["status"], None)
                return False
            await self._send(connector_id, ask, view, messenger)
            return True
        if view["status"] != "pending":
            await messenger.replace(ask.reference or {}, await self._closed_text(ask, view), {})
            await self._close(connector_id, ask_id, view["status"], None)
            return False
        if ask.about == "approval" and view["digest"] != ask.digest:  # a person has edited the call
            buttons = asks.approval_buttons() if file.people else {}
            renewed = events.AskRenewed(
                connector_id=connector_id, ask_id=ask_id, digest=view["digest"], buttons=buttons
            )
            self._state.append(renewed.on())
            return True
        if self._shown.get(ask_id) != frozenset(ask.buttons):
            await messenger.replace(ask.reference or {}, await self._text(ask, view), ask.buttons)
            self._shown[ask_id] = frozenset(ask.buttons)
        return False

    async def _send(self, connector_id: str, ask: Ask, view: Mapping[str, Any], messenger: Messenger) -> None:
        await self._state.durable()
        moved = connectors.find(self._state, connector_id).moved
        place, text = connectors.present_place(moved, ask.place), await self._text(ask, view)
        try:
            reference = await messenger.send(place, text, ask.buttons, ask_id=ask.ask_id)
        except ChatMigrated as error:
            await self._intake.move_chat(connector_id, str(place["chat"]), str(error.chat), None)
            reference = await messenger.send({**place, "chat": str(error.chat)}, text, ask.buttons, ask_id=ask.ask_id)
        self._shown[ask.ask_id] = frozenset(ask.buttons)
        self._state.append(events.AskSent(connector_id=connector_id, ask_id=ask.ask_id, reference=reference).on())

    async def _view(self, ask: Ask) -> Mapping[str, Any]:
        cls: type[Any] = Approval if ask.about == "approval" else Question
        doc = await self._state.recall(cls, ask.thing_id)
        if doc is None:  # its session was deleted
            return {"status": "cancelled", "decisions": [], "answers": None, "answered_by": None, "questions": [],
                    "tool": "a call", "arguments": {}}  # fmt: skip
        return doc

    async def _text(self, ask: Ask, view: Mapping[str, Any]) -> str:
        url = self._state.definitions.config.public_url
        link = f"{url}/#/inbox/{ask.thing_id}" if url is not None else ask.thing_id
        child = await child_of(self._state, ask.run_id)
        if ask.about == "approval":
            return wording.ask_approval(view, link, child=child, has_buttons=bool(ask.buttons))
        item = next((str(one["item"]) for one in ask.buttons.values()), None)
        return wording.ask_question(view, link, child=child, item=item, chosen=ask.chosen)

    async def _closed_text(self, ask: Ask, view: Mapping[str, Any]) -> str:
        child = await child_of(self._state, ask.run_id)
        closed = wording.closed_approval if ask.about == "approval" else wording.closed_question
        return closed(view, child=child)

    async def _close(self, connector_id: str, ask_id: str, outcome: str, reason: str | None) -> None:
        async with pins.owner(self._state, INGRESS, connector_id):
            ask = self._state.find(Ask, ask_id)
            if ask is None or ask.state == "closed":
                return
            closed = events.AskClosed(connector_id=connector_id, ask_id=ask_id, outcome=outcome, reason=reason)
            self._state.append(closed.on())
        if reason is not None:
            log.warning("the message about %s could not be sent or replaced: %s", ask.thing_id, reason)
        self._open.pop(ask.thing_id, None)
        for known in (self._shown, self._later, self._locks):
            known.pop(ask_id, None)

    # --- answers ------------------------------------------------------------------------------------------------------

    async def answer(self, connector_id: str, file: ConnectorFile, click: Click) -> None:
        """Decide by a button, and return when the decision is durable. A refusal is answered in private."""
        text, is_refusal = "", False
        try:
            text = await self._decide(connector_id, file, click)
        except (ButtonRefused, Conflict, Forbidden, NotFound) as error:
            text, is_refusal = error.detail, True
        await self._state.durable()
        spawn(self._tell(connector_id, file, click, text, is_refusal=is_refusal))

    async def _decide(self, connector_id: str, file: ConnectorFile, click: Click) -> str:
        state, person = self._state, file.people.get(click.sender)
        async with pins.owner(state, INGRESS, connector_id):
            ask = _button(state, connector_id, click)
            if person is None:
                raise ButtonRefused("Only persons that the connector lists may answer here; nothing was changed.")
            cls: type[Any] = Approval if ask.about == "approval" else Question
            async with pins.thing(state, cls, ask.thing_id) as ended:
                if ended is not None:
                    raise (approvals.late(ended) if ask.about == "approval" else questions.late(ended))
                # From here to the entries nothing is awaited: of two presses, the second finds the first.
                ask, thing = _button(state, connector_id, click), state.get(cls, ask.thing_id)
                place = connectors.plain_place(connectors.find(state, connector_id).moved, click.place)
                meant = asks.check_click(ask, click.button_id, place, asks.digest_of(thing))
                if isinstance(thing, Approval):
                    return self._resolve(connector_id, file, ask, thing, click, person, meant)
                return self._choose(connector_id, file, ask, thing, click, person, meant)

    def _choose(
        self,
        connector_id: str,
        file: ConnectorFile,
        ask: Ask,
        question: Question,
        click: Click,
        person: str,
        meant: Mapping[str, Any],
    ) -> str:
        """Record a choice, with the buttons of what is to be chosen next; the last choice answers the question."""
        chosen, buttons = asks.choose(ask, question.questions, meant)
        used = events.AskUsed(
            connector_id=connector_id, ask_id=ask.ask_id, button_id=click.button_id, person=person, buttons=buttons,
            chosen=chosen,
        ).on(by=person)  # fmt: skip
        if buttons:
            self._state.append(used)
        else:
            answers = {item: {"selected": list(options), "text": None} for item, options in chosen.items()}
            questions.answer(self._state, question.question_id, answers, by=person, via=file.kind, beside=[used])
        return f"Recorded: {meant['label']}"

    def _resolve(
        self,
        connector_id: str,
        file: ConnectorFile,
        ask: Ask,
        approval: Approval,
        click: Click,
        person: str,
        meant: Mapping[str, Any],
    ) -> str:
        """Record a decision, with the buttons of the next person where another must decide as well."""
        decision = meant["decision"]
        agreed = {one.person for one in approval.decisions if one.digest == approval.digest} | {person}
        is_last = decision == "deny" or len(agreed) >= approval.required
        used = events.AskUsed(
            connector_id=connector_id, ask_id=ask.ask_id, button_id=click.button_id, person=person,
            buttons={} if is_last else asks.approval_buttons(),
        )  # fmt: skip
        wanted = approvals.Resolution(
            approval_id=approval.approval_id, decision=decision, by=person, via=file.kind, person=person
        )
        approvals.resolve_many(self._state, [wanted], beside=[used.on(by=person)])
        return f"Recorded: {decision}"

    async def _tell(self, connector_id: str, file: ConnectorFile, click: Click, text: str, *, is_refusal: bool) -> None:
        try:
            await self._messenger(connector_id, file).tell(click.answer_to, text, is_refusal=is_refusal)
        except KheishError as error:
            log.info("a press of a button was not answered: %s", error.detail)


def _button(state: State, connector_id: str, click: Click) -> Ask:
    """Return the message of a button. Raises ButtonRefused."""
    ask = asks.find_button(state, connector_id, click.button_id)
    if ask is None:
        raise ButtonRefused("This button decides nothing any more.")
    return ask


def _buttons(thing: Approval | Question) -> dict[str, dict[str, Any]]:
    return asks.approval_buttons() if isinstance(thing, Approval) else asks.question_buttons(thing.questions)
