"""Messages with buttons for approvals and questions. A button has a random id, which is bound to its connector, its
chat and the digest of what is asked, and is used once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import orjson

from kheish.domain import events
from kheish.domain.approvals import Approval
from kheish.domain.events import Entry, QuestionItem, changed, frozen
from kheish.domain.questions import Question
from kheish.domain.shown import View
from kheish.errors import ButtonRefused
from kheish.state.noun import Noun, Tables

if TYPE_CHECKING:
    from kheish.state.state import State

#: buttons of a question at most; a longer one has a link only
MOST_BUTTONS = 20
AskState = Literal["made", "sent", "closed"]


@frozen
class Ask(View):
    """A message that asks for a decision."""

    ask_id: str
    connector: str
    about: Literal["approval", "question"]
    thing_id: str
    session_id: str
    run_id: str
    digest: str
    place: dict[str, Any]
    buttons: dict[str, dict[str, Any]]
    state: AskState
    reference: dict[str, Any] | None
    used: tuple[str, ...]
    made: int
    n: int
    outcome: str | None = None
    reason: str | None = None
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The options that were chosen so far, by item of the question."""


FOLDED = (events.AskMade, events.AskSent, events.AskUsed, events.AskRenewed, events.AskClosed)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    table: dict[str, Ask] = tables[Ask]
    event: Any = entry.event
    if isinstance(event, events.AskMade):
        table[event.ask_id] = Ask(
            ask_id=event.ask_id, connector=event.connector_id, about=event.about, thing_id=event.thing_id,
            session_id=event.session_id, run_id=event.run_id, digest=event.digest, place=event.place,
            buttons=event.buttons, state="made", reference=None, used=(), made=entry.n, n=entry.n,
        )  # fmt: skip
        return (event.ask_id,)
    old = table.get(event.ask_id)
    if old is None:
        return ()
    table[event.ask_id] = changed(old, n=entry.n, **_fold_change(old, event))
    return (event.ask_id,)


def _fold_change(old: Ask, event: Any) -> dict[str, Any]:
    match event:
        case events.AskSent(reference=reference):
            return {"state": "sent", "reference": reference}
        case events.AskUsed(button_id=id, buttons=buttons, chosen=chosen):
            return {"used": (*old.used, id), "buttons": buttons, "chosen": chosen}
        case events.AskRenewed(digest=digest, buttons=buttons):
            return {"used": (*old.used, *old.buttons), "buttons": buttons, "digest": digest}
        case events.AskClosed(outcome=outcome, reason=reason):
            return {"state": "closed", "outcome": outcome, "reason": reason, "buttons": {}}
        case _:
            return {}


NOUN = Noun(
    name="ask",
    cls=Ask,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=lambda one: one.state != "closed",
    view=lambda one: one,
    status=lambda one: str(one.state),
    filters=("thing_id",),
    read=lambda doc: Ask(**{**doc, "used": tuple(doc["used"])}),
)


# --- buttons ----------------------------------------------------------------------------------------------------------


def new_button() -> str:
    """Return a random id of a button; short enough for Telegram's 64 bytes."""
    return f"kb_{secrets.token_urlsafe(24)}"


def approval_buttons() -> dict[str, dict[str, Any]]:
    """Return the buttons of an approval."""
    return {new_button(): {"label": "Allow", "decision": "allow"}, new_button(): {"label": "Deny", "decision": "deny"}}


def question_buttons(items: Sequence[QuestionItem]) -> dict[str, dict[str, Any]]:
    """Return the buttons of a question: the options of its first item; none if an item has too many."""
    if not all(1 <= len(item.options) <= MOST_BUTTONS for item in items):
        return {}
    return _item_buttons(items[0], ())


def _item_buttons(item: QuestionItem, chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the buttons of an item: where several options may be chosen, each is switched, and another button ends
    the choice."""
    made: dict[str, dict[str, Any]] = {}
    for one in item.options:
        mark = "✓ " if one.id in chosen else ""
        made[new_button()] = {"label": f"{mark}{one.label}", "item": item.id, "option": one.id}
    if item.multi_select:
        made[new_button()] = {"label": "Done", "item": item.id, "option": None}
    return made


def choose(
    ask: Ask, items: Sequence[QuestionItem], meant: Mapping[str, Any]
) -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, Any]]]:
    """Return what is chosen after a press, by item, and the next buttons; none after the last item. Raises
    ButtonRefused for the end of a choice without an option."""
    chosen, option = dict(ask.chosen), meant["option"]
    at = next(number for number, item in enumerate(items) if item.id == meant["item"])
    item = items[at]
    before = chosen.get(item.id, ())
    if item.multi_select and option is not None:
        switched = tuple(one for one in before if one != option) if option in before else (*before, option)
        chosen[item.id] = switched
        return chosen, _item_buttons(item, switched)
    if option is None and not before:
        raise ButtonRefused("Choose at least one option first.")
    if option is not None:
        chosen[item.id] = (option,)
    return chosen, _item_buttons(items[at + 1], ()) if at + 1 < len(items) else {}


def digest_of(thing: Approval | Question) -> str:
    """Return the digest of what is asked: a button decides about nothing else."""
    if isinstance(thing, Approval):
        return thing.digest
    asked = [(one.id, one.text, [(option.id, option.label) for option in one.options]) for one in thing.questions]
    return sha256(orjson.dumps(asked)).hexdigest()


def find_button(state: State, connector_id: str, button_id: str) -> Ask | None:
    """Return the open message of a loaded connector that a button belongs to, used or not."""
    table = state.table(Ask, f"{events.INGRESS}/{connector_id}")
    return next((one for one in table.values() if button_id in one.buttons or button_id in one.used), None)


def check_click(ask: Ask, button_id: str, place: Mapping[str, Any], digest: str) -> Mapping[str, Any]:
    """Return what a button stands for. Raises ButtonRefused if it was used, belongs elsewhere, or is about something
    that has changed."""
    if button_id not in ask.buttons:
        raise ButtonRefused("This button was used already.")
    if any(place.get(name) != ask.place.get(name) for name in ("channel", "chat") if name in ask.place):
        raise ButtonRefused("This button belongs to another conversation.")
    if digest != ask.digest:
        raise ButtonRefused("What is asked has changed since this message; decide about the new one.")
    return ask.buttons[button_id]
