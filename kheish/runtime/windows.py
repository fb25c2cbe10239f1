"""Windows: the tokens of a text, the limit of a server, and other facts learned about a server.

Nothing here is exact. A count is an estimate, corrected by the server's reports; a window is the route's setting, or
the server's report if that is less, or follows from a refusal. The facts are kept in memory only: servers are restarted
with other settings, and each error teaches them again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson

from kheish.domain.routes import Route
from kheish.runtime.drivers.base import Message, ToolSpec

_LETTERS = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SMALL = b" abcdefghijklmnopqrstuvwxyz"
PER_MESSAGE = 6  # tokens that templates put around each message
PER_IMAGE = 1600  # tokens of an image of the size that assets have for models
SMALLEST = 256  # tokens: a smaller window is not believed
LARGEST = 1 << 26
REMEMBERED_CHARACTERS = 8192  # the longest text whose count is remembered
RATIO = (0.8, 4.0)  # bounds of the correction by a server's own count
CALIBRATED_FROM = 400  # tokens: smaller prompts are not significant
REMEMBERED = 600.0  # seconds for which a refusal counts, and after which a server is queried again


def tokens(text: str) -> int:
    """Return about how many tokens a text has.

    A history is counted with each request, so counts of short texts are cached.
    """
    return _remembered(text) if len(text) <= REMEMBERED_CHARACTERS else _count(text)


@lru_cache(maxsize=4096)
def _remembered(text: str) -> int:
    return _count(text)


def _count(text: str) -> int:
    """Return about how many tokens a text has, at the speed of C.

    English has some 4.5 letters per token, capitals and digits break words, punctuation stands alone, and a character
    of several UTF-8 bytes takes about half as many tokens as it has additional bytes. Four characters per token, the
    usual rule of thumb, is half of the truth for code and a fourth of it for Chinese.
    """
    if not text:
        return 0
    raw = text.encode("utf-8", "replace")
    marks = len(raw.translate(None, _LETTERS)) if len(raw) == len(text) else len(text) // 8
    capitals = len(raw.translate(None, _SMALL)) - marks if len(raw) == len(text) else 0
    return int(len(text) * 0.22 + marks * 0.3 + capitals * 0.2 + (len(raw) - len(text)) * 0.42) + 1


def message_tokens(message: Message) -> int:
    """Return about how many tokens a message has, with its calls and the template around it."""
    return message.counted(_count_message)


def _count_message(message: Message) -> int:
    total = PER_MESSAGE + tokens(message.text) + PER_IMAGE * len(message.images)
    for call in message.calls:
        total += PER_MESSAGE + tokens(call.name) + tokens(encoded(call.arguments))
    if message.opaque is not None:
        total += tokens(encoded(message.opaque))
    return total


def messages_tokens(messages: Iterable[Message]) -> int:
    """Return about how many tokens the messages have together."""
    return sum(map(message_tokens, messages))


def spec_tokens(spec: ToolSpec) -> int:
    """Return about how many tokens a tool's definition has."""
    return 2 * PER_MESSAGE + tokens(spec.name) + tokens(spec.description) + tokens(encoded(spec.parameters))


def encoded(value: Any) -> str:
    """Return a value as JSON, or as its Python representation if it cannot be JSON."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return repr(value)


def server_key(driver: str, api_base: str | None, model: str | None) -> str:
    """Return the key of a server: its address and model. A route's id may come to mean another server."""
    return sha256(f"{driver}\n{(api_base or '').rstrip('/')}\n{model or ''}".encode()).hexdigest()[:16]


@dataclass(slots=True)
class Facts:
    """The facts learned about one server."""

    window: int | None = None  # the window that the server reports
    asked_at: float = float("-inf")  # when its window was queried
    ratio: float = 1.0  # the ratio of its token count to ours
    answered: int = 0  # the largest prompt that it accepted, by its own count
    refused: int | None = None  # the smallest prompt that was too long for it, by our count
    refused_at: float = float("-inf")
    omit: frozenset[str] = frozenset()  # fields that it does not accept
    strictness: int = 0  # the degree to which its messages have to be simplified

    def calibrate(self, estimated: int, counted: int) -> None:
        """Learn from the server's count of a prompt's tokens."""
        self.answered = max(self.answered, counted)
        if estimated >= CALIBRATED_FROM and counted > 0:
            seen = min(max(counted / estimated, RATIO[0]), RATIO[1])
            self.ratio = max(seen, 0.7 * self.ratio + 0.3 * seen)

    def describe(self, window: int | None) -> None:
        """Learn the window that the server reports, unless its own answers disprove it."""
        if window is not None and SMALLEST <= window <= LARGEST and window >= self.answered:
            self.window = window

    def refuse(self, estimated: int, window: int | None, counted: int | None) -> None:
        """Learn that a prompt was too long."""
        now = time.monotonic()
        stale = now - self.refused_at > REMEMBERED
        self.refused = estimated if self.refused is None or stale else min(self.refused, estimated)
        self.refused_at = now
        self.answered = 0  # the server may have been restarted with a smaller window
        if window is not None and SMALLEST <= window <= LARGEST:
            self.window = window
        if counted and estimated:
            self.ratio = min(max(self.ratio, counted / estimated), RATIO[1])


@dataclass(slots=True)
class Windows:
    """The facts about all servers, by `server_key`."""

    _facts: dict[str, Facts] = field(default_factory=dict)
    asking: set[asyncio.Task[None]] = field(default_factory=set)  # pending queries to servers

    def of(self, server: str) -> Facts:
        """Return the facts of a server; empty ones for a new server."""
        return self._facts.setdefault(server, Facts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room of a prompt. `prompt` is in our own count; None if the window is unknown."""

    window: int | None = None
    reserve: int = 0  # tokens that are left for the answer
    prompt: int | None = None


def room(route: Route, generation: Mapping[str, Any], facts: Facts) -> Room:
    """Return the maximal size of a prompt: the window without the answer's share, in our count."""
    known = [size for size in (route.capabilities.context_window, facts.window) if size]
    window = min(known) if known else None
    reserve = _reserve(window, generation) if window else 0
    limits = [int((window - reserve) * 0.97 / facts.ratio)] if window else []
    if facts.refused is not None and time.monotonic() - facts.refused_at < REMEMBERED:
        limits.append(int(facts.refused * 0.75))
    return Room(window=window, reserve=reserve, prompt=max(0, min(limits)) if limits else None)


def answer_limit(generation: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the setting that bounds an answer's length, and its value."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = generation.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return name, value
    return None


def _reserve(window: int, generation: Mapping[str, Any]) -> int:
    limit = answer_limit(generation)
    if limit is not None:
        return min(limit[1], window // 2)
    return min(max(window // 6, 128), 16_384)
