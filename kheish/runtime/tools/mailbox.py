"""Messages to other agents: `message_agent`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from kheish.domain.agents.agent import find_in
from kheish.domain.events.mailboxes import Sender
from kheish.domain.mailboxes import letters, recipients
from kheish.domain.mailboxes.letters import Letter
from kheish.domain.mailboxes.message import pending
from kheish.domain.sessions.session import Session
from kheish.errors import KheishError
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.runtime.tools.interact import derived, is_unattended


class MessageAgent(Arguments):
    to: str = Field(min_length=1, max_length=400, description="The agent: its id, name or path, or its session's id.")
    message: str | dict[str, Any] = Field(description="A text or an object, of 64 KiB at most.")
    subject: str | None = Field(None, max_length=letters.SUBJECT_CHARACTERS, description="A subject, in one line.")
    in_reply_to: str | None = Field(None, max_length=128, description="The id of the message that this one answers.")
    delivery: Literal["next_run", "next_turn"] | None = Field(
        None, description="Left out: at its next turn if the agent is busy, else in a run of its own."
    )


def sender(context: Context) -> Sender:
    """Return the agent of a call as a sender: a child by its path, a root agent by its session."""
    session, agent = (context.state.get(Session, context.session_id), find_in(context.state, context.session_id))
    return letters.sender_of(session, agent.path if agent is not None and agent.is_child else None)


async def _send(arguments: MessageAgent, context: Context) -> Result:
    state = context.state
    try:
        session_id = await recipients.resolve(state, arguments.to, caller=context.session_id)
        if session_id == context.session_id:
            raise ToolError("That is you; a message goes to another agent.")
        async with state.using(session_id):
            letter = Letter(
                type="message",
                sender=sender(context),
                payload=arguments.message,
                subject=arguments.subject,
                in_reply_to=arguments.in_reply_to,
                delivery=arguments.delivery,
                message_id=derived("msg", context.key),
                unattended=is_unattended(context),
            )
            posted = letters.draft(state, session_id, letter)
            status, position = recipients.recipient_status(state, session_id), pending(state, session_id) + 1
    except KheishError as error:
        raise ToolError(error.detail) from error
    is_dead = status == "closed"
    standing = "dead_letter: it has ended, and will not see it" if is_dead else f"pending, number {position}"
    return Result(
        content=f"{letter.message_id} to {arguments.to} ({status}): {standing}.",
        is_error=is_dead,
        detail={
            "message_id": letter.message_id,
            "state": "dead_letter" if is_dead else "pending",
            "position": None if is_dead else position,
            "recipient_status": status,
        },
        drafts=(posted,),
        uses=(session_id,),
    )


TOOLS = (
    Tool(
        name="message_agent",
        description=(
            "Send a message to another agent. Returns at once with the message's id, its state (pending, or "
            "dead_letter for an agent that has ended) and the agent's status; pending does not mean that it was seen. "
            "An answer, if there is one, comes to you as a message."
        ),
        arguments=MessageAgent,
        effect=Effect.COORDINATION,
        replay=Replay.SAFE,
        run=_send,
    ),
)
