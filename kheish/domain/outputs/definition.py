"""The file of a sink, `outputs/<name>.yaml`: a place that outputs are delivered to, of one kind."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kheish.domain.mcp.server import FromSlot
from kheish.ids import MOST
from kheish.settings import Duration, Line, Mail, Url, check_url

#: the audience of leases and scopes: `output:team`
AUDIENCE = "output:"
FOLDER = "outputs/"
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_OWN_HEADERS = re.compile(r"(?i)(host|content-(length|type|encoding)|transfer-encoding|connection|webhook-.*)")
Text = Annotated[str, Field(min_length=1, max_length=32_768, pattern=r"^[^\x00]*$")]
Ref = Annotated[str, Field(min_length=1, max_length=200)]

#: for each kind of Kheish itself: the fields of its file, and those of them that it needs
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "http": (frozenset({"url", "secret", "headers"}), frozenset()),
    "slack": (frozenset({"token", "channel", "api_base"}), frozenset({"token"})),
    "telegram": (frozenset({"token", "chat", "topic", "format", "api_base"}), frozenset({"token"})),
    "email": (
        frozenset({"host", "port", "security", "user", "password", "sender", "to"}),
        frozenset({"host", "sender"}),
    ),
    "file": (frozenset({"to"}), frozenset()),
    "command": (frozenset({"command"}), frozenset({"command"})),
    "apprise": (frozenset({"url"}), frozenset({"url"})),
}
#: kinds whose deliveries to one target keep their order unless the file says otherwise
_STRICT = frozenset({"slack", "telegram", "file"})
_OF_KINDS = frozenset().union(*(fields for fields, _ in KINDS.values()), {"options"})
_NAMES = {"sender": "from"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)


class RetryPolicy(_Part):
    """The repetition of failed attempts."""

    max: Annotated[Duration, Field(ge=1, le=86_400, validate_default=True)] = "10m"  # type: ignore[assignment]  # validated
    """The longest pause between two attempts; pauses double from one second."""
    give_up: Annotated[Duration, Field(ge=1, le=30 * 86_400, validate_default=True)] = "24h"  # type: ignore[assignment]  # validated
    """The time after which a delivery becomes a dead letter."""


class OutputFile(_Part):
    """A sink; the fields besides `kind` are those of its kind, and the four for all of them."""

    title: Annotated[str, Field(max_length=500)] = ""
    """Its purpose, for readers."""
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    """`http`, `slack`, `telegram`, `email`, `file`, `command`, `apprise`, or the kind of an installed package."""
    url: Url | Ref | None = None
    """http: the address; without it, each target names one. apprise: the slot with its URL."""
    secret: Ref | None = None
    """http: the slot of the key that signs requests (Standard Webhooks)."""
    headers: dict[Annotated[str, Field(pattern=_HEADER, max_length=200)], Line | FromSlot] = Field(default_factory=dict)
    """http: more headers: a text, or `{slot: NAME}`."""
    token: Ref | None = None
    """slack, telegram: the slot of the bot's token."""
    api_base: Url | None = None
    """slack, telegram: the address of the platform's API, if it is not the public one."""
    channel: Line | None = None
    """slack: the channel, unless a target names one."""
    chat: Annotated[int, Field(ge=-MOST, le=MOST)] | Line | None = None
    """telegram: the chat, unless a target names one."""
    topic: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """telegram: the topic of the chat."""
    format: Literal["rich", "html", "plain"] | None = None
    """telegram: the form of texts; html without it."""
    host: Line | None = None
    """email: the server."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """email: the port of the server; 465 with `security: tls`, else 587."""
    security: Literal["tls", "starttls", "none"] | None = None
    """email: the encryption; starttls without it, and tls with port 465. `none` sends no password except to this
    machine."""
    user: Line | None = None
    """email: the user name at the server."""
    password: Ref | None = None
    """email: the slot of the password."""
    sender: Annotated[Mail | None, Field(alias="from")] = None
    """email: the address of the sender."""
    to: Annotated[tuple[Mail, ...], Field(min_length=1, max_length=50)] | Line | None = None
    """email: the recipients, unless a target names them. file: the file, below the session's workspace."""
    command: Text | Annotated[tuple[Text, ...], Field(min_length=1, max_length=200)] | None = None
    """command: a command line for `sh -c`, or a list of words; it gets the body on its standard input, and runs
    unconfined, after `kheish trust`."""
    options: dict[str, Any] = Field(default_factory=dict, max_length=100)
    """The settings of a kind from an installed package."""
    slots: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Ref] = Field(default_factory=dict)
    """The slots of a kind from an installed package, by its own names for them."""
    timeout: Annotated[Duration, Field(ge=1, le=600, validate_default=True)] = "30s"  # type: ignore[assignment]  # validated
    """The time for each attempt."""
    retry: RetryPolicy = RetryPolicy()
    """The repetition of failed attempts."""
    order: Literal["strict", "skip"] | None = None
    """strict: a delivery waits for the earlier ones to the same target, the default of slack, telegram and file. skip:
    it does not, the default of all others."""
    on_unknown: Literal["retry", "hold"] | None = None
    """An attempt whose end is unknown: it is repeated, or held until a user decides (the default of apprise)."""
    disabled: bool = False
    """Whether it is switched off; deliveries then become dead letters."""

    @model_validator(mode="after")
    def _fits(self) -> OutputFile:
        known = KINDS.get(self.kind)
        allowed, needed = known if known is not None else (frozenset({"options", "slots"}), frozenset())
        given = {name for name in (*_OF_KINDS, "slots") if getattr(self, name) not in (None, {})}
        if foreign := sorted(_NAMES.get(name, name) for name in given - allowed):
            raise ValueError(f"{', '.join(foreign)}: not a field of an output of kind {self.kind}")
        if lacking := sorted(_NAMES.get(name, name) for name in needed - given):
            raise ValueError(f"an output of kind {self.kind} needs {', '.join(lacking)}")
        if own := sorted(name for name in self.headers if _OWN_HEADERS.fullmatch(name)):
            raise ValueError(f"headers: {', '.join(own)} cannot be set here")
        if self.kind == "apprise" and "://" in (self.url or ""):
            raise ValueError("url: names the slot of the address, since that holds secrets: kheish secrets set NAME")
        if self.kind == "http" and self.url is not None:
            check_url(self.url)
        elif self.kind == "http" and (self.secret or any(isinstance(one, FromSlot) for one in self.headers.values())):
            raise ValueError("url: needed, since secrets are sent to the address of this file only")
        if self.kind == "file":
            check_path(self.to)
        if self.kind == "email" and isinstance(self.to, str):
            raise ValueError("to: needs a list of addresses")
        if self.kind == "email" and (self.user is None) != (self.password is None):
            raise ValueError("user and password need each other")
        return self

    @property
    def is_strict(self) -> bool:
        """Whether deliveries to one target keep their order."""
        return self.order == "strict" if self.order is not None else self.kind in _STRICT

    @property
    def holds_unknown(self) -> bool:
        """Whether a delivery is held after an attempt whose end is unknown."""
        return self.on_unknown == "hold" if self.on_unknown is not None else self.kind == "apprise"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The slots that it uses."""
        named = [self.secret, self.token, self.password, self.url if self.kind == "apprise" else None]
        named += [one.slot for one in self.headers.values() if isinstance(one, FromSlot)]
        return tuple(dict.fromkeys([*(one for one in named if one), *self.slots.values()]))

    @property
    def commands(self) -> tuple[str, ...]:
        """The things that need trust, for a user who reviews them."""
        if self.command is None:
            return ()
        line = self.command if isinstance(self.command, str) else shlex.join(self.command)
        return (f"{line}  (unconfined, for each delivery)",)


def check_path(path: Any) -> None:
    """Raise ValueError for a path that is not below a workspace."""
    if path is None:
        return
    parts = path.split("/") if isinstance(path, str) else [".."]
    if ".." in parts or not any(part not in ("", ".") for part in parts) or parts[0] in ("", "~"):
        raise ValueError(f"to: {path!r} is no path below the workspace")
