"""Events of channels as lines: messages, reactions and turns as they happen, and why agents wait."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.options import Settings
from kheish.cli.output import coloured, paint, plain, say, when

if TYPE_CHECKING:
    from kheish.client import Event

#: seconds between two looks at what holds agents up
_LOOK_EVERY = 1.0


def follow(settings: Settings, channel: str, sent: Mapping[str, Any]) -> None:
    """Print what follows a message until its turns are over, and on stderr what holds agents up."""
    over = threading.Event()
    watcher = threading.Thread(target=_tell_obstacles, args=(settings, channel, sent["thread"], over), daemon=True)
    watcher.start()
    try:
        print_events(settings, settings.client().events(after=sent["n"], channel=channel), until=sent["thread"])
    finally:
        over.set()


def _tell_obstacles(settings: Settings, channel: str, thread: str, over: threading.Event) -> None:
    """Print what holds up each agent that waits in a thread, once for each obstacle."""
    from kheish.errors import KheishError

    told: set[tuple[str, str]] = set()
    client = settings.client()
    while not over.wait(_LOOK_EVERY):
        try:
            waiting = client.channels.turns(channel, state=("queued",), thread=thread)["items"]
        except KheishError:
            continue  # the stream of events reports it
        for one in waiting:
            what = (one["member"], one["reason"] or "")
            if one["reason"] is not None and what not in told and not over.is_set():
                told.add(what)
                text = f"{one['member']} waits: {one['reason']} (Ctrl-C ends the wait; the message stays)"
                click.echo(plain(text), err=True)


def name(author: Mapping[str, Any]) -> str:
    """Return the name of an author; a guest's is marked, since a token may be called as a member is."""
    is_guest = author["kind"] == "human" and author["member"] is None
    return f"{author['name']} (guest)" if is_guest else str(author["name"])


def print_events(settings: Settings, found: Iterable[Event], until: str | None = None) -> None:
    """Print the events of a channel; with `until`, up to the end of the turns in this thread."""
    try:
        for event in found:
            if settings.output == "json":
                say(event.raw)
            elif settings.quiet:
                say(str(event.n))
            elif (line := _shown(event)) is not None:
                say(line)
            ends = event.kind == "channel.turns_closed" and event.data["thread"] == until
            if until is not None and (ends or event.kind == "channel.paused"):
                return
    except KeyboardInterrupt:
        return


def _shown(event: Event) -> str | None:
    """Return an event of a channel as a line; None for one that a reader does not need."""
    data, at = event.data, event.at
    match event.kind:
        case "channel.posted" | "channel.edited":
            body = data["post"]
            mark = " (edited)" if event.kind == "channel.edited" else ""
            return line(at, name(body["author"]), body["text"] + mark, body["thread"])
        case "channel.removed":
            return _note(at, f"{data['post']['message_id']} is removed")
        case "channel.reacted":
            return _note(at, f"{data['by']} {data['change']} {data['emoji']} on {data['message_id']}")
        case "channel.turn_granted":
            return _note(at, f"{data['member']} has the turn ({'; '.join(data['rank'])})")
        case "channel.turn_ended" if data["state"] != "posted":
            return _note(at, f"the turn is {data['state']}{': ' + data['reason'] if data['reason'] else ''}")
        case "channel.turns_closed":
            return _note(at, f"the turns are over: {data['reason']}")
        case "channel.paused" | "channel.resumed":
            return _note(at, f"{event.kind.removeprefix('channel.')} {data.get('reason') or ''}".rstrip())
        case "channel.proposed":
            return _note(at, f"{data['by']} proposes: {data['text']}")
    return None


def line(at: str | None, name: str, text: str, thread: str) -> str:
    """Return a message as a line."""
    place = f"  [{thread[-6:]}]" if coloured() else f"  [{thread}]"
    return f"{when(at)}{place}  {paint(plain(name), bold=True)}: {plain(text)}"


def _note(at: str | None, text: str) -> str:
    return paint(f"{when(at)}  * {plain(text)}", dim=True)


def text_of(one: Mapping[str, Any]) -> str:
    """Return the text of a message in one line."""
    return "(removed)" if one.get("removed_at") else " ".join(str(one["text"]).split())


def reactions_of(one: Mapping[str, Any]) -> str:
    """Return the reactions to a message with their numbers."""
    return " ".join(f"{each['emoji']}{len(each['by'])}" for each in one["reactions"])
