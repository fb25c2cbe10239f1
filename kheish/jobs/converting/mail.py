"""E-mail as text: its headers, its text, and the names of what is attached."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage, Message
from itertools import islice

from kheish.jobs.converting import html, text
from kheish.jobs.converting.limits import Refused

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_PARTS = 1000


def convert(raw: bytes) -> tuple[str, str | None]:
    """Return the text of a message, and what is missing. Raises Refused."""
    message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
    if not any(message.get(name) for name in _HEADERS):
        raise Refused("It has none of the headers of an e-mail.")
    lines = [f"{name}: {' '.join(str(message[name]).split())}" for name in _HEADERS if message[name]]
    bodies, attached, why = list[str](), list[str](), None
    for part in islice(_leaves(message), _PARTS):
        kind, name = part.get_content_type(), part.get_filename()
        content = part.get_payload(decode=True)
        size = len(content) if isinstance(content, bytes) else 0
        if name or part.get_content_disposition() == "attachment" or not kind.startswith("text/"):
            attached.append(f"[attached: {name or 'without a name'}, {kind}, {size} bytes]")
        elif isinstance(content, bytes):
            body, missing = _body(content, kind, part.get_content_charset())
            bodies.append(body.strip())
            why = why or missing
    return "\n".join([*lines, "", "\n\n".join(bodies), *([""] if attached else []), *attached]), why


def _body(content: bytes, kind: str, encoding: str | None) -> tuple[str, str | None]:
    return html.convert(content, encoding) if kind == "text/html" else (text.loose(content, encoding), None)


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts without parts; of alternatives, the plain text alone."""
    waiting: list[Message] = [message]
    while waiting:
        part = waiting.pop(0)
        inner = part.get_payload() if part.is_multipart() else None
        if not isinstance(inner, list):
            yield part
            continue
        parts = [one for one in inner if isinstance(one, Message)]
        if part.get_content_type() == "multipart/alternative":
            plain = [one for one in parts if one.get_content_type() == "text/plain"]
            parts = plain[:1] or parts[:1]
        waiting = [*parts, *waiting][:_PARTS]
