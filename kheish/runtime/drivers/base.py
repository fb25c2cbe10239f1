"""The interface of drivers: requests, answers, and failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ErrorKind = Literal[
    "transport",  # no connection, cut in the middle, or a broken stream
    "timeout",  # over `timeout`, or silent for `inactivity_timeout`
    "rate_limited",  # 429
    "server",  # 5xx, 408, or an answer that ended with an error
    "empty",  # finished, with neither text nor a call
    "truncated",  # ended by the limit of tokens
    "declined",  # the provider's filter, or the model itself, refused to answer
    "quota",  # nothing is left to spend: 402, insufficient_quota
    "auth",  # 401, 403
    "context_length",  # the prompt is too long for the model
    "oversized",  # over a bound of `bounds.py`
    "bad_request",  # any other 4xx, or no server of this format
    "refused",  # the driver itself refuses to answer (a scripted `expect` that does not match, a broken script)
]

RETRYABLE: frozenset[ErrorKind] = frozenset({"transport", "timeout", "rate_limited", "server", "empty", "truncated"})


class ModelError(Exception):
    """A failed model call. `retry_after` is in seconds, from a header or the body, else None.

    `window` and `prompt_tokens` are stated by a `context_length` error: the model's window, and the size of the prompt
    (with the answer, if the server counts them together). `field` is the request field that a `bad_request` names, such
    as `messages[3].name`. `reply` is the part of the answer before the failure.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        window: int | None = None,
        prompt_tokens: int | None = None,
        field: str | None = None,
        reply: Reply | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.window = window
        self.prompt_tokens = prompt_tokens
        self.field = field
        self.reply = reply

    @property
    def retryable(self) -> bool:
        return self.kind in RETRYABLE

    def worded(self, message: str) -> ModelError:
        """Return the same failure with another message."""
        return ModelError(
            self.kind,
            message,
            status=self.status,
            retry_after=self.retry_after,
            window=self.window,
            prompt_tokens=self.prompt_tokens,
            field=self.field,
            reply=self.reply,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call that the model requests. `malformed` holds the raw text if it was no JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    malformed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image for a model; `data` is its content in Base64."""

    media_type: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of the prompt. `tool` messages answer `call_id`; `assistant` messages may carry `calls`.

    `opaque` is data that a provider requires back verbatim (signed reasoning), as its driver returned it.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[Call, ...] = ()
    call_id: str | None = None
    is_error: bool = False
    opaque: Any = None
    _images: tuple[Image, ...] = ()  # of a user's message; outside of digests, since its text names them by theirs
    # computed once for a message, since a history is sent with each request; not part of its value
    _tokens: int | None = field(default=None, init=False, compare=False, repr=False)
    _is_clean: bool = field(default=False, init=False, compare=False, repr=False)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that follow its text."""
        return self._images

    def counted(self, count: Callable[[Message], int]) -> int:
        """Return about how many tokens it has; `count` is called once."""
        if self._tokens is None:
            object.__setattr__(self, "_tokens", count(self))
        return self._tokens or 0

    @property
    def is_clean(self) -> bool:
        """Return whether a server accepts its texts and arguments as they are, as far as that was found out."""
        return self._is_clean

    def found_clean(self) -> Message:
        """Note that a server accepts its texts and arguments as they are; returns the message."""
        object.__setattr__(self, "_is_clean", True)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call, serialisable: nothing in it assumes that it runs in this process."""

    route_id: str
    model: str | None
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    generation: dict[str, Any] = field(default_factory=dict)  # temperature, max_tokens, …: passed on unchanged
    answers: int = 0  # answers and failed attempts in the run's journal: the turn of a script, from 0
    # settings of the route: api_base, script, timeouts (seconds), …
    settings: dict[str, Any] = field(default_factory=dict)
    credential: str | None = field(default=None, repr=False)
    stream: bool = True
    omit: frozenset[str] = frozenset()  # fields of the body that this server refused, such as `messages.name`


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counts them; `cached_tokens` are a part of `input_tokens`.

    `estimated`: the provider reported no counts, so that they are estimated from the characters.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer. `model` is the model that the provider reports; `left_out` counts the calls over the bound."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    left_out: int = 0
    # stop | tool_calls | length | content_filter | refusal | error, else the server's own word
    finish_reason: str = "stop"
    usage: Usage = Usage()
    model: str | None = None
    opaque: Any = None
    cost_usd: float | None = None  # if the driver itself has a price (litellm)


class Driver(Protocol):
    """A model driver, stateless but for connection pools. Retries and fallbacks are the loop's, and in the journal."""

    async def complete(self, request: Request, on_delta: Callable[[str], None]) -> Reply:
        """Call the model; `on_delta` gets text as it arrives. Raises ModelError."""
        ...

    async def prepare(self) -> None:
        """Import what calls need; the first call does it otherwise."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
