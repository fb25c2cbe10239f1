"""`kheish channels`: manage channels; read, post and watch their messages; show threads, turns and proposals."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli import channel_events as following
from kheish.cli.channel_events import reactions_of, text_of
from kheish.cli.definitions import commands
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, emit, fitting, listing, plain, say, when

channels = commands("channels", "channel", "Talk with people and agents in channels, and manage those.")
NAME = click.argument("name")
MESSAGE = click.argument("message")
_STATES = ("queued", "granted", "passed", "posted", "silent", "expired")
#: messages that `watch` shows before the new ones
_LAST = 20


# --- messages ---------------------------------------------------------------------------------------------------------


@channels.command()
@NAME
@click.argument("text")
@click.option("--to", "addressed", metavar="MEMBER", multiple=True, help="Address a member, by id or name.")
@click.option("--thread", help="The thread that it continues.")
@click.option("--reply-to", metavar="MESSAGE", help="The message that it replies to.")
@click.option("--follow", "-f", "followed", is_flag=True, help="Print the answers until the turns are over.")
@pass_settings
def post(
    settings: Settings,
    name: str,
    text: str,
    addressed: tuple[str, ...],
    thread: str | None,
    reply_to: str | None,
    followed: bool,
) -> None:
    """Post a message in a channel; agents get turns to answer."""
    client = settings.client()
    sent = client.channels.post(name, text, addressed=list(addressed), thread=thread, reply_to=reply_to)
    text = f"{sent['message_id']} is posted in the thread {sent['thread']}."
    emit(settings, sent, ids=[sent["message_id"]], human=lambda: say(text))
    if followed:
        following.follow(settings, name, sent)


@channels.command()
@NAME
@click.option("--thread", help="Only this thread.")
@click.option("--search", "words", metavar="WORDS", help="Only messages with these words.")
@page_options
@pass_settings
def messages(
    settings: Settings, name: str, thread: str | None, words: str | None, limit: int | None, cursor: str | None
) -> None:
    """List messages, newest first."""
    page = settings.client().channels.messages(name, thread=thread, q=words, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("AT", lambda one: when(one["at"])),
        ("ID", "message_id"),
        ("THREAD", "thread"),
        ("FROM", lambda one: following.name(one["from"])),
        ("REACTIONS", reactions_of),
        ("TEXT", text_of),
    ]
    listing(settings, page, "message_id", columns, fitting("No messages yet.", thread, words))


@channels.command("edit-message")
@NAME
@MESSAGE
@click.argument("text")
@pass_settings
def edit_message(settings: Settings, name: str, message: str, text: str) -> None:
    """Give a message of yours another text."""
    sent = settings.client().channels.edit(name, message, text=text)
    emit(settings, sent, ids=[message], human=lambda: say(f"{message} is edited."))


@channels.command("remove-message")
@NAME
@MESSAGE
@pass_settings
def remove_message(settings: Settings, name: str, message: str) -> None:
    """Remove a message of yours, or as an admin any."""
    settings.client().channels.remove(name, message)
    document = {"message_id": message, "removed": True}
    emit(settings, document, ids=[message], human=lambda: say(f"{message} is removed."))


@channels.command()
@NAME
@MESSAGE
@click.argument("emoji")
@click.option("--remove", "is_removed", is_flag=True, help="Take the reaction back.")
@pass_settings
def react(settings: Settings, name: str, message: str, emoji: str, is_removed: bool) -> None:
    """React to a message with an emoji."""
    known = settings.client().channels
    sent = known.remove_reaction(name, message, emoji) if is_removed else known.react(name, message, emoji)
    text = plain(f"{message}: {reactions_of(sent) or 'no reactions'}")
    emit(settings, sent, ids=[message], human=lambda: say(text))


# --- threads, turns, proposals ----------------------------------------------------------------------------------------


@channels.command()
@NAME
@click.option("--status", type=click.Choice(["open", "resolved", "closed"]), multiple=True, help="Only this status.")
@click.option("--about", metavar="KIND/ID", help="Only threads about this thing.")
@page_options
@pass_settings
def threads(
    settings: Settings, name: str, status: tuple[str, ...], about: str | None, limit: int | None, cursor: str | None
) -> None:
    """List threads, newest first."""
    page = settings.client().channels.threads(name, status=status or None, about=about, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("THREAD", "thread"),
        ("STATUS", "status"),
        ("MESSAGES", "messages"),
        ("LAST", lambda one: when(one["last_at"])),
        ("ABOUT", lambda one: ", ".join(f"{thing['kind']}/{thing['id']}" for thing in one["about"])),
        ("TITLE", "title"),
    ]
    listing(settings, page, "thread", columns, fitting("No threads yet.", status or None, about))


@channels.command("set-thread")
@NAME
@click.argument("thread")
@click.argument("status", type=click.Choice(["open", "resolved", "closed"]))
@pass_settings
def set_thread(settings: Settings, name: str, thread: str, status: Any) -> None:
    """Set the status of a thread; a message of a person opens it again."""
    changed = settings.client().channels.change_thread(name, thread, status=status)
    emit(settings, changed, ids=[thread], human=lambda: say(f"{thread} is {changed['status']}."))


@channels.command()
@NAME
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only turns in this state.")
@click.option("--thread", help="Only this thread.")
@page_options
@pass_settings
def turns(
    settings: Settings, name: str, state: tuple[str, ...], thread: str | None, limit: int | None, cursor: str | None
) -> None:
    """List turns: first the queue, with the reasons for each place, then all others, newest first."""
    page = settings.client().channels.turns(name, state=state or None, thread=thread, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("MEMBER", "member"),
        ("STATE", "state"),
        ("UNTIL", lambda one: when(one["expires_at"]) if one["state"] == "granted" else ""),
        ("RUN", lambda one: one["run_id"] or ""),
        ("THREAD", "thread"),
        ("WHY", lambda one: "; ".join(dict.fromkeys(filter(None, [one["reason"], *one["rank"]])))),
    ]
    listing(settings, page, "turn_id", columns, fitting("No turns yet.", state or None, thread))


@channels.command()
@NAME
@click.argument("kind", type=click.Choice(["topic", "event"]))
@click.argument("text")
@click.option("--key", required=True, help="Proposals with the same key become one.")
@click.option("--thread", help="The thread that it is for.")
@click.option("--expires-at", metavar="TIME", help="Its end, such as 2026-12-01T09:00:00Z.")
@pass_settings
def propose(
    settings: Settings, name: str, kind: Any, text: str, key: str, thread: str | None, expires_at: str | None
) -> None:
    """Propose a topic, or report an event, for people to take up."""
    made = settings.client().channels.propose(name, kind, text, dedupe_key=key, thread=thread, expires_at=expires_at)
    text = f"{made['proposal_id']} is open; `kheish channels accept {name} {made['proposal_id']}` posts it."
    emit(settings, made, ids=[made["proposal_id"]], human=lambda: say(text))


@channels.command()
@NAME
@click.option("--all", "is_all", is_flag=True, help="Also those that are not open any more.")
@page_options
@pass_settings
def proposals(settings: Settings, name: str, is_all: bool, limit: int | None, cursor: str | None) -> None:
    """List open proposals, newest first."""
    state = None if is_all else ("open",)
    page = settings.client().channels.proposals(name, state=state, limit=limit, cursor=cursor)
    columns: list[Column] = [
        ("ID", "proposal_id"),
        ("KIND", "kind"),
        ("STATE", "state"),
        ("BY", "by"),
        ("COUNT", "count"),
        ("TEXT", text_of),
    ]
    listing(settings, page, "proposal_id", columns, "No open proposals." if state else "No proposals yet.")


@channels.command()
@NAME
@click.argument("proposal")
@click.option("--text", help="The message, in place of the proposal's text.")
@click.option("--digest", help="The digest of the proposal that you were shown; another one is refused.")
@pass_settings
def accept(settings: Settings, name: str, proposal: str, text: str | None, digest: str | None) -> None:
    """Post a proposal as a message of yours; agents get turns to answer."""
    client = settings.client().channels
    shown = client.proposal(name, proposal)
    wanted = text or shown["text"]
    made = client.resolve_proposal(name, proposal, decision="accept", text=text, digest=digest or shown["digest"])
    line = plain(f"{proposal} is posted as {made['message_id']}: {wanted}")
    emit(settings, made, ids=[proposal], human=lambda: say(line))


@channels.command()
@NAME
@click.argument("proposal")
@pass_settings
def dismiss(settings: Settings, name: str, proposal: str) -> None:
    """Close a proposal without posting it."""
    made = settings.client().channels.resolve_proposal(name, proposal, decision="dismiss")
    emit(settings, made, ids=[proposal], human=lambda: say(f"{proposal} is {made['state']}."))


# --- the channel ------------------------------------------------------------------------------------------------------


@channels.command()
@NAME
@pass_settings
def members(settings: Settings, name: str) -> None:
    """List the members, with the names in effect."""
    page = settings.client().channels.members(name)
    columns: list[Column] = [
        ("MEMBER", "member"),
        ("NAME", "name"),
        ("KIND", "kind"),
        ("WHO", lambda one: one["session"] or one["person"]),
        ("SPEAKS", lambda one: "muted" if one["muted"] else one["participation"] or "when they like"),
        ("TAGS", lambda one: ", ".join(one["tags"])),
    ]
    listing(settings, page, "member", columns, f"No members; `kheish channels edit {name}` adds some.")


@channels.command()
@NAME
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def pause(settings: Settings, name: str, reason: str | None) -> None:
    """Grant no turns until the channel is resumed; messages are accepted."""
    found = settings.client().channels.pause(name, reason=reason)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is paused; `kheish channels resume {name}`."))


@channels.command()
@NAME
@pass_settings
def resume(settings: Settings, name: str) -> None:
    """End a pause; messages that came meanwhile are answered."""
    found = settings.client().channels.resume(name)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is {found['state']}."))


@channels.command()
@NAME
@click.option("--last", type=click.IntRange(0, 200), default=_LAST, help=f"Messages before the new ones ({_LAST}).")
@pass_settings
def watch(settings: Settings, name: str, last: int) -> None:
    """Print messages, reactions and turns as they happen, until interrupted. JSON: one line per event."""
    client = settings.client()
    page = client.channels.messages(name, limit=max(last, 1))
    after = max((one["n"] for one in page["items"]), default=None)
    if settings.output == "table" and not settings.quiet:
        for one in page["items"][:last][::-1]:
            say(following.line(one["at"], following.name(one["from"]), text_of(one), one["thread"]))
    following.print_events(settings, client.events(after=after, channel=name))
