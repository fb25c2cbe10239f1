"""`kheish mailbox`: list, post, show, redeliver."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, shorten, when

STATES = ("pending", "delivering", "delivered", "acked", "dead_letter")
COLUMNS: list[Column] = [
    ("MESSAGE", "message_id"),
    ("STATE", "state"),
    ("TYPE", "type"),
    ("FROM", lambda message: message["from_name"] or message["from"]),
    ("POSTED", lambda message: when(message["posted_at"])),
    ("TEXT", lambda message: shorten(message["subject"] or _text(message["payload"]), 80)),
]


def _text(payload: Any) -> str:
    """Return a payload in one line: a text, or the fields of a result."""
    if not isinstance(payload, dict):
        return str(payload)
    fields = ((name, value) for name, value in payload.items() if value not in (None, "", [], {}))
    return ", ".join(f"{name}: {_text(value)}" for name, value in fields)


@group()
def mailbox() -> None:
    """Post messages to agents, and list what became of them.

    AGENT is an agent's id, or a session's id for its root agent.
    """


@mailbox.command("list")
@click.argument("agent")
@click.option("--state", type=click.Choice(STATES), help="Only messages in this state.")
@page_options
@pass_settings
def list_(settings: Settings, agent: str, state: str | None, limit: int | None, cursor: str | None) -> None:
    """List an agent's messages, newest first."""
    page = settings.client().mailbox.list(agent, state=state, limit=limit, cursor=cursor)
    listing(settings, page, "message_id", COLUMNS, fitting("The mailbox has no messages.", state))


@mailbox.command()
@click.argument("agent")
@click.argument("text")
@click.option("--subject", help="A subject, in one line.")
@click.option("--in-reply-to", metavar="MESSAGE", help="The message that this one answers.")
@click.option(
    "--delivery", type=click.Choice(("next_run", "next_turn")), help="When; by default as the agent is idle or busy."
)
@click.option("--expires-at", metavar="TIME", help="RFC 3339; later, a pending message is a dead letter.")
@click.option("--message-id", metavar="ID", help="The same id with the same text is one message.")
@pass_settings
def post(
    settings: Settings,
    agent: str,
    text: str,
    subject: str | None,
    in_reply_to: str | None,
    delivery: str | None,
    expires_at: str | None,
    message_id: str | None,
) -> None:
    """Post a message to an agent. It is framed as from your token, and answers no approval and no question."""
    posted = settings.client().mailbox.post(
        agent,
        text,
        subject=subject,
        in_reply_to=in_reply_to,
        delivery=delivery,
        expires_at=expires_at,
        message_id=message_id,
    )
    place = f", number {posted['position']} in the mailbox" if posted["position"] else ""
    why = f" ({posted['last_error']})" if posted["last_error"] else ""
    line = f"{posted['message_id']} is {posted['state']}{place}{why}; the agent is {posted['recipient_status']}."
    emit(settings, posted, ids=[posted["message_id"]], human=lambda: say(plain(line)))


@mailbox.command()
@click.argument("agent")
@click.argument("message")
@pass_settings
def show(settings: Settings, agent: str, message: str) -> None:
    """Show a message."""
    document = settings.client().mailbox.get(agent, message)
    emit(settings, document, ids=[document["message_id"]], human=lambda: details({**document}))


@mailbox.command()
@click.argument("agent")
@click.argument("message")
@pass_settings
def redeliver(settings: Settings, agent: str, message: str) -> None:
    """Send a dead letter again."""
    again = settings.client().mailbox.redeliver(agent, message)
    line = f"{again['message_id']} is {again['state']}."
    emit(settings, again, ids=[again["message_id"]], human=lambda: say(plain(line)))
