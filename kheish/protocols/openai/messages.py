"""Messages of a conversation as the client has it, and the digests by which its session is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kheish.errors import Invalid, UnsupportedParameter

_SYSTEM = ("system", "developer")
_TEXTS = ("text", "input_text", "output_text")
_INSTRUCTIONS = "Instructions of the client for this conversation:\n\n"
_EARLIER = "The conversation so far, as the client sent it:\n\n"


@dataclass(frozen=True, slots=True)
class Said:
    """A message: `user` or `assistant`, and its text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation that ends with messages of the user. Instructions stand apart: clients put the date into them."""

    instructions: str
    said: tuple[Said, ...]

    @property
    def turn(self) -> str:
        """The user's newest words: all messages after the last answer."""
        return "\n\n".join(one.text for one in self.said[self._split :])

    @property
    def answer(self) -> str | None:
        """The last answer; None in a new conversation."""
        return self.said[self._split - 1].text if self._split else None

    @property
    def head(self) -> tuple[Said, ...]:
        """The messages up to the first answer, which stay the same while the conversation grows."""
        end = next((place for place, one in enumerate(self.said) if one.role == "assistant"), len(self.said))
        return self.said[:end]

    @property
    def before(self) -> tuple[Said, ...]:
        """The messages without the newest turn and the answer before it: those of the previous request."""
        return self.said[: max(0, self._split - 1)]

    @property
    def earlier(self) -> tuple[Said, ...]:
        """The messages before the newest turn."""
        return self.said[: self._split]

    @property
    def _split(self) -> int:
        last = max((place for place, one in enumerate(self.said) if one.role == "assistant"), default=-1)
        return last + 1


def conversation(messages: Sequence[Mapping[str, Any]]) -> Conversation:
    """Return the conversation of a list of messages. Raises Invalid, UnsupportedParameter."""
    said: list[Said] = []
    system: list[str] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        text = _text(message.get("content"), f"messages[{place}].content")
        if role in _SYSTEM:
            system.append(text)
        elif role in ("user", "assistant") and not message.get("tool_calls"):
            said.append(Said(role, text))
        elif role in ("tool", "function", "assistant"):
            raise UnsupportedParameter(
                f"messages[{place}] belongs to a tool of the client; the agent has tools of its own.", param="messages"
            )
        else:
            raise Invalid(f"messages[{place}].role is {str(role)[:40]!r}; use system, user or assistant.")
    if not said or said[-1].role != "user":
        raise Invalid("The last message must be the user's: it is the task of the run.")
    return Conversation("\n\n".join(filter(None, system)), tuple(said))


def texts(value: str | Sequence[Mapping[str, Any]]) -> Conversation:
    """Return the conversation of a response's input. Raises Invalid, UnsupportedParameter."""
    if isinstance(value, str):
        return conversation([{"role": "user", "content": value}])
    for place, item in enumerate(value):
        if item.get("type", "message") != "message":
            raise UnsupportedParameter(
                f"input[{place}] is a {str(item.get('type'))[:40]}; only messages are supported.", param="input"
            )
    return conversation(value)


def task(told: Conversation, *, begins: bool, instructed: bool = False) -> list[dict[str, str]]:
    """Return the items of the run that answers a conversation. `begins`: its session is new, so that it needs what was
    said before; `instructed`: it has the instructions."""
    items: list[str] = []
    if told.instructions and not instructed:
        items.append(_INSTRUCTIONS + told.instructions)
    if begins and told.earlier:
        items.append(_EARLIER + "\n\n".join(f"{one.role}: {one.text}" for one in told.earlier))
    items.append(told.turn)
    return [{"type": "text", "text": text} for text in items]


def digest(*parts: object) -> str:
    """Return a digest of texts and messages."""
    plain = [[[one.role, one.text] for one in part] if isinstance(part, tuple) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=False).encode(errors="replace")).hexdigest()


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list):
        raise Invalid(f"{where} is neither a text nor a list of parts.")
    parts: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in _TEXTS or not isinstance(part.get("text"), str):
            raise UnsupportedParameter(
                f"{where} has a part of type {str(kind)[:40]!r}; only texts are supported.",
                param=where,
            )
        parts.append(part["text"])
    return "\n".join(parts).strip()
