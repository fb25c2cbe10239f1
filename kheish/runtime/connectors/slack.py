"""Slack: what its events, interactions and commands mean. The same for Socket Mode and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from kheish.domain.connectors.arrival import Arrival, Click, Ignored, Parsed
from kheish.domain.connectors.keys import plain_key
from kheish.errors import Invalid
from kheish.runtime.connectors import bodies

#: messages of people; all other subtypes are edits, deletions, and notices
_SUBTYPES = frozenset({"file_share", "me_message", "thread_broadcast"})
_EVENTS = frozenset({"app_mention", "message"})
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 50
_MOST_FILES = 10
#: characters of a type that an answer repeats
_MOST_TYPE = 100
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def read(raw: bytes, media: str) -> Parsed:
    """Return what a verified body means. It may take long: call it in a child (`reading`). Raises
    Invalid."""
    if media != _FORM:
        return event(bodies.read_object(raw))
    try:
        form = {name: values[0] for name, values in parse_qs(raw.decode(), max_num_fields=_MOST_FIELDS).items()}
    except ValueError as error:
        raise Invalid(f"The form cannot be read: {error}.") from error
    if "ssl_check" in form:
        return Ignored(reason="a check of TLS")
    if "payload" in form:
        return interaction(bodies.read_object(form["payload"].encode()))
    return command(form)


def envelope(kind: Any, payload: Any) -> Parsed:
    """Return what an envelope of Socket Mode means. Its payload is the same as by HTTP; `retry_attempt` alone says
    nothing."""
    given: Mapping[str, Any] = payload if isinstance(payload, dict) else {}
    match kind:
        case "events_api":
            return event(given)
        case "interactive":
            return interaction(given)
        case "slash_commands":
            return command(given)
        case _:
            return Ignored(reason=f"an envelope of the type {_shown(kind)}")


def event(payload: Mapping[str, Any]) -> Parsed:
    """Return what a body of the Events API means."""
    kind, given = _text(payload, "type"), payload.get("event")
    if kind == "url_verification":
        return Ignored(reason="a challenge", answer={"challenge": _text(payload, "challenge") or ""})
    if kind != "event_callback" or not isinstance(given, dict):
        return Ignored(reason=f"an event of the type {_shown(kind)}")
    if _text(given, "type") not in _EVENTS:
        return Ignored(reason=f"an event of the type {_shown(given.get('type'))}")
    if (why := _unwanted(payload, given)) is not None:
        return Ignored(reason=why)
    return _message(payload, given)


def _unwanted(payload: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return the reason why a message is ignored; None for one of a person."""
    subtype = given.get("subtype")
    if subtype is not None and (not isinstance(subtype, str) or subtype not in _SUBTYPES):
        return f"a message of the subtype {_shown(subtype)}"
    if given.get("bot_id") or given.get("bot_profile") or not _text(given, "user"):
        return "a message of a bot"
    if given.get("user") in _bots(payload):
        return "a message of this app"
    if given.get("hidden") or not _text(given, "channel") or not _text(given, "ts"):
        return "a message without a place"
    return None


def _bots(payload: Mapping[str, Any]) -> set[str]:
    """Return the users that this app is."""
    found = payload.get("authorizations")
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {user for one in rows if (user := _text(one, "user_id")) and one.get("is_bot", True)}


def _message(payload: Mapping[str, Any], given: Mapping[str, Any]) -> Parsed:
    team = _text(payload, "team_id") or _text(given, "team") or ""
    channel, ts, user = _text(given, "channel") or "", _text(given, "ts") or "", _text(given, "user") or ""
    thread = _text(given, "thread_ts") or ts
    content = _spoken(_text(given, "text") or "", _bots(payload))
    files = tuple(_files(given.get("files")))
    if not content and not files:
        return Ignored(reason="a message without text")
    event_id = _text(payload, "event_id")
    keys = [f"message:{team}:{channel}:{ts}", *([f"event:{event_id}"] if event_id else [])]
    return Arrival(
        keys=tuple(plain_key(key) for key in keys),
        content=content,
        fields={"team": team, "channel": channel, "thread_ts": thread, "ts": ts, "user": user},
        sender=user,
        event=_text(given, "type"),
        chat=channel,
        team=team,
        place={"channel": channel, "thread_ts": thread},
        files=files,
    )


def _spoken(text: str, bots: set[str]) -> str:
    """Return a text as it was typed, without the mention of this app at its beginning."""
    said = text.lstrip()
    if said.startswith("<@"):
        mention, closing, rest = said[2:].partition(">")
        if closing and mention.partition("|")[0] in bots:
            text = rest.lstrip(" \t\r\n,:")
    for escaped, plain in _ESCAPES:
        text = text.replace(escaped, plain)
    return text.strip()


def _files(found: Any) -> list[dict[str, Any]]:
    rows = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [
        {"url": url, "name": _text(one, "name"), "media": _text(one, "mimetype")}
        for one in rows[:_MOST_FILES]
        if (url := _text(one, "url_private_download") or _text(one, "url_private"))
    ]


def interaction(payload: Mapping[str, Any]) -> Parsed:
    """Return what a press of a button means."""
    actions = payload.get("actions")
    first = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], dict) else {}
    button, user = _text(first, "value"), _text(_part(payload, "user"), "id")
    channel = _text(_part(payload, "channel"), "id") or _text(_part(payload, "container"), "channel_id")
    if payload.get("type") != "block_actions" or not button or not user or not channel:
        return Ignored(reason=f"an interaction of the type {_shown(payload.get('type'))}")
    thread = _text(_part(payload, "message"), "thread_ts") or _text(_part(payload, "container"), "thread_ts")
    answer_to = {"channel": channel, "user": user, **({"thread_ts": thread} if thread else {})}
    return Click(button_id=button, sender=user, place={"channel": channel}, answer_to=answer_to)


def command(form: Mapping[str, Any]) -> Parsed:
    """Return what a slash command means: its text is a message, with a session of its own."""
    text, user, channel = _text(form, "text"), _text(form, "user_id"), _text(form, "channel_id")
    trigger, team = _text(form, "trigger_id"), _text(form, "team_id") or ""
    if not _text(form, "command") or not user or not channel or not trigger:
        return Ignored(reason="a form that is no command")
    if not text or not text.strip():
        return Ignored(reason="a command without text", answer={"text": "Write the task after the command."})
    return Arrival(
        keys=(plain_key(f"command:{trigger}"),),
        content=text.strip(),
        fields={"team": team, "channel": channel, "thread_ts": trigger, "user": user},
        what="command",
        sender=user,
        event=_text(form, "command"),
        chat=channel,
        team=team,
        place={"channel": channel},
    )


def _shown(kind: Any) -> str:
    return kind[:_MOST_TYPE] if isinstance(kind, str) else type(kind).__name__


def _part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name)
    return value if isinstance(value, dict) else {}


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) and value else None
