"""Events of mailboxes: messages to an agent, in the journal of the agent's session.

The claim of messages by a run is `run.submitted` (its `message_ids`), and the end of the run that had them acks them;
neither needs an event here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kheish.domain.events.runs import Item
from kheish.state.event import Event, Spilled, frozen

MessageType = Literal[
    "message",
    "agent_result",
    "task_result",
    "task_assignment",
    "clarification",
    "clarification_answer",
    "notice",
]
Delivery = Literal["next_run", "next_turn"]
#: text, an object, or a reference to either; left to right, as in `state.event.Arguments`
Payload = Annotated[Spilled | dict[str, Any] | str, Field(union_mode="left_to_right")]


@frozen
class Sender:
    """The sender of a message, stamped by the daemon. `session_id` is set for an agent, and for the daemon about a
    session's own work."""

    actor: str
    name: str | None = None
    session_id: str | None = None


@frozen
class MessagePosted(Event):
    """A message, now pending; one with the id of a dead letter is the same message, sent again.

    `structured`: the payload is an object (a reference does not show it). `for_run`: a user steers this run. `digest`
    is the sha256 of the request. `posted_at` is the time of the first posting of a message that is sent again.
    """

    kind = "message.posted"
    spillable = ("payload",)
    message_id: str
    type: MessageType
    sender: Sender
    payload: Payload
    delivery: Delivery
    digest: str
    structured: bool = False
    subject: str | None = None
    in_reply_to: str | None = None
    tainted_by: str | None = None
    for_run: str | None = None
    expires_at: str | None = None
    posted_at: str | None = None
    unattended: bool = False  # it results from a run that no person attends


@frozen
class MessageDelivered(Event):
    """A message that is before the model from here on: in the task of the run, whose start is in the same group, or in
    a later turn, whose request is in the same group. Only for a turn it has the text as the model sees it."""

    kind = "message.delivered"
    spillable = ("items",)
    message_id: str
    turn: int | None = None
    items: tuple[Item, ...] = ()
    tainted_by: str | None = None


@frozen
class MessageAttempted(Event):
    """A claim that failed: no run could be submitted. Further attempts follow, until there were enough of them."""

    kind = "message.attempted"
    message_ids: tuple[str, ...]
    error: str


@frozen
class MessageAcked(Event):
    """A pending or delivered message that a caller has read by the API."""

    kind = "message.acked"
    message_id: str


@frozen
class MessageDied(Event):
    """A pending message that became a dead letter."""

    kind = "message.dead_lettered"
    message_id: str
    reason: str


@frozen
class MessageSenderTold(Event):
    """The notice to the sender that its message is a dead letter; it is in the same group, in the sender's mailbox."""

    kind = "message.sender_told"
    message_id: str
