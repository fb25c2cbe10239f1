"""Telegram: what an update of the Bot API means. The same for long polling and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish.domain.connectors.arrival import Arrival, Click, Ignored, Moved, Parsed
from kheish.errors import Invalid
from kheish.runtime.connectors import bodies

#: the topic of a chat without topics, in keys of sessions
NO_TOPIC = "main"
#: the updates that are asked for
UPDATES = ("message", "edited_message", "callback_query")
_FILES = ("document", "audio", "voice", "video")
#: the largest number that Telegram's ids may have
_MOST_NUMBER = 2**53


def read(raw: bytes) -> Parsed:
    """Return what the verified body of a webhook means. It may take long: call it in a child (`reading`). Raises
    Invalid."""
    value = bodies.read_object(raw)
    if not is_update(value):
        raise Invalid("The body is no update of Telegram.")
    return update(value)


def is_update(value: Any) -> bool:
    """Return whether a value is an update: an object with a number of its own."""
    return isinstance(value, dict) and (number := _number(value, "update_id")) is not None and number >= 0


def update(given: Mapping[str, Any]) -> Parsed:
    """Return what an update means."""
    offset = int(given["update_id"]) + 1
    if isinstance(query := given.get("callback_query"), dict):
        return _click(query, offset)
    for name, what in (("message", "message"), ("edited_message", "edit")):
        if isinstance(message := given.get(name), dict):
            return _message(message, what, offset)
    return Ignored(reason="an update of another kind", offset=offset)


def _message(message: Mapping[str, Any], what: str, offset: int) -> Parsed:
    chat, sender = _id(_part(message, "chat")), _part(message, "from")
    if chat is None:
        return Ignored(reason="a message without a chat", offset=offset)
    user = _id(sender)
    new, old = _number(message, "migrate_to_chat_id"), _number(message, "migrate_from_chat_id")
    if new is not None:
        return Moved(old=chat, new=str(new), offset=offset, sender=user, event=what, chat=chat)
    if old is not None:
        return Moved(old=str(old), new=chat, offset=offset, sender=user, event=what, chat=chat)
    if user is None or sender.get("is_bot"):
        return Ignored(reason="a message of a bot", offset=offset)
    content = (_text(message, "text") or _text(message, "caption") or "").strip()
    files = tuple(_files(message))
    if not content and not files:
        return Ignored(reason="a message without text", offset=offset)
    topic = _number(message, "message_thread_id") if message.get("is_topic_message") else None
    number = _number(message, "message_id")
    return Arrival(
        keys=(f"update:{offset - 1}",),
        content=f"(This replaces an earlier message.)\n{content}" if what == "edit" else content,
        fields={"chat": chat, "topic": NO_TOPIC if topic is None else str(topic), "user": user, "message": number},
        what=what,
        sender=user,
        event="edited_message" if what == "edit" else "message",
        chat=chat,
        metadata={"username": name} if (name := _text(sender, "username")) else {},
        place={"chat": chat, **({"topic": topic} if topic is not None else {})},
        files=files,
        offset=offset,
    )


def _files(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    photos = message.get("photo")
    if isinstance(photos, list) and photos and isinstance(photos[-1], dict):
        found.append({"file_id": _text(photos[-1], "file_id"), "name": "photo.jpg", "media": "image/jpeg"})
    for kind in _FILES:
        part = _part(message, kind)
        if part:
            media = _text(part, "mime_type")
            found.append({"file_id": _text(part, "file_id"), "name": _text(part, "file_name"), "media": media})
    return [one for one in found if one["file_id"]]


def _click(query: Mapping[str, Any], offset: int) -> Parsed:
    button, user, id = _text(query, "data"), _id(_part(query, "from")), _text(query, "id")
    chat = _id(_part(_part(query, "message"), "chat"))
    if not button or user is None or chat is None or not id:
        return Ignored(reason="a press of a button without a message", offset=offset)
    return Click(button_id=button, sender=user, place={"chat": chat}, answer_to={"query": id}, offset=offset)


def _id(given: Mapping[str, Any]) -> str | None:
    number = _number(given, "id")
    return str(number) if number is not None else None


def _number(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_NUMBER
    return value if is_number else None


def _part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name)
    return value if isinstance(value, dict) else {}


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) and value else None
