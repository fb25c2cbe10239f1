"""The file of an MCP server, `mcp/<id>.yaml`: a command that the daemon starts, or a URL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kheish.config import Duration, Size
from kheish.domain import routes

#: the audience of leases and scopes: `mcp:github`
AUDIENCE = "mcp:"
#: what an id must not contain: it separates the server from the tool in `mcp__<server>__<tool>`
SEPARATOR = "__"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
#: headers that the protocol sets itself
_OWN_HEADERS = frozenset({
    "accept", "authorization", "connection", "content-length", "content-type", "host", "last-event-id",
    "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id", "transfer-encoding",
})  # fmt: skip

Text = Annotated[str, Field(max_length=32_768)]
Ref = Annotated[str, Field(min_length=1, max_length=200)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FromSlot(_Part):
    """A secret value."""

    slot: Ref
    """A slot of the vault, or `env:NAME` for a variable of the daemon that is a secret."""


class FromVariable(_Part):
    """A variable of the daemon's environment."""

    variable: Annotated[str, Field(pattern=_VARIABLE)]
    """Its name. It is passed on as it is; a missing variable is left out."""


Value = Text | FromSlot | FromVariable


class ServerSandbox(_Part):
    """The confinement of a server: it sees its working folder, the system and toolchains, and nothing else."""

    network: bool = False
    """Whether it has the network; all of it, or none."""
    writable: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = ()
    """More folders that it may write; `~` is the home folder. They must exist."""
    read_only: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = ()
    """More folders that it may read."""


class OAuth(_Part):
    """Login by OAuth 2.1; `kheish mcp login SERVER` starts it. Everything is optional: servers announce it."""

    scopes: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """The scopes to ask for; without them, those that the server asks for."""
    client_id: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """The id of a client that was registered by hand."""
    client_secret: Ref | None = None
    """The slot of its secret, if it has one."""
    issuer: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """The only issuer to log in at; without it, the first of those that the server names."""


class Auth(_Part):
    """The credential for a URL: a bearer token from a slot, or OAuth."""

    bearer: Ref | None = None
    """The slot of a bearer token, or `env:NAME`."""
    oauth: OAuth | None = None
    """Login by OAuth; `{}` for the usual case."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if (self.bearer is None) == (self.oauth is None):
            raise ValueError("needs exactly one of bearer and oauth")
        return self


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password; name a slot (auth: {bearer: SLOT}) instead")
    if parts.fragment:
        raise ValueError("must not have a fragment (#…)")
    return text


class McpServer(_Part):
    """An MCP server: exactly one of `command` (stdio) and `url` (streamable HTTP)."""

    command: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The program, by its name or its absolute path; it is started without a shell."""
    args: tuple[Text, ...] = ()
    """Its arguments."""
    env: dict[Annotated[str, Field(pattern=_VARIABLE)], Value] = Field(default_factory=dict)
    """Its variables, beside PATH, HOME and LANG: a text, `{slot: NAME}` for a secret, or `{variable: NAME}` for one of
    the daemon's."""
    cwd: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Its working folder, absolute or with `~`; without it, the session's workspace for `per: session`, else a folder
    of its own."""
    sandbox: ServerSandbox | Literal["off"] | None = None
    """The confinement of a command: `{network: true, writable: [~/.npm]}`, or `off`. It must be written. An unconfined
    server is like an unconfined shell."""
    url: Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_url)] | None = None
    """The endpoint of a server over streamable HTTP."""
    headers: dict[Annotated[str, Field(pattern=_HEADER, max_length=200)], Text | FromSlot] = Field(default_factory=dict)
    """More headers of each request: a text, or `{slot: NAME}`."""
    auth: Auth | None = None
    """The credential for `url`."""
    tools: tuple[Glob, ...] = ("*",)
    """The tools to offer, as globs over the server's own names."""
    trust_annotations: bool = False
    """Whether the server's own word about its tools holds (`readOnlyHint` makes a tool one that reads). Without it,
    each of its tools counts as one with effects."""
    protocol: Literal["auto", "legacy", "modern"] = "auto"
    """legacy: versions up to 2025-11-25, by a handshake; modern: 2026-07-28, without. auto finds out, and remembers."""
    per: Literal["daemon", "session"] = "daemon"
    """Whether all sessions share a connection (and its process), or each session has its own."""
    timeout: Duration = Field(default="60s", validate_default=True, gt=0, le=86400)
    """The time for each call; progress that a server reports restarts it."""
    start_timeout: Duration = Field(default="10s", validate_default=True, gt=0, le=600)
    """The time for which a run waits for the server to start."""
    max_message: Size = Field(default="4MiB", validate_default=True, ge=1024, le=64 * 1024**2)
    """The largest message that is read; a larger one closes the connection."""
    disabled: bool = False
    """Whether it is switched off."""

    @model_validator(mode="after")
    def _fits(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs exactly one of command and url")
        if self.command is not None:
            self._check_command()
        else:
            self._check_url()
        return self

    def _check_command(self) -> None:
        if self.sandbox is None:
            raise ValueError(
                "sandbox must be written for a command: {network: true, writable: [~/.npm]}, or off, which is like an "
                "unconfined shell"
            )
        self._refuse("command", headers=self.headers, auth=self.auth)
        if self.cwd is not None and not self.cwd.startswith(("/", "~/")):
            raise ValueError("cwd: must be absolute, or begin with ~/")

    def _check_url(self) -> None:
        self._refuse("url", args=self.args, env=self.env, cwd=self.cwd, sandbox=self.sandbox)
        if own := sorted(name for name in self.headers if name.lower() in _OWN_HEADERS):
            raise ValueError(f"headers: {', '.join(own)} cannot be set here; a token belongs into auth")

    def _refuse(self, kind: str, **given: Any) -> None:
        if named := [name for name, value in given.items() if value]:
            raise ValueError(f"{', '.join(named)}: not for a server with {kind}")

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it uses."""
        return tuple(dict.fromkeys(self._slots()))

    def _slots(self) -> Iterator[str]:
        yield from (value.slot for value in (*self.env.values(), *self.headers.values()) if isinstance(value, FromSlot))
        if self.auth is not None:
            oauth = self.auth.oauth
            yield from (one for one in (self.auth.bearer, oauth and oauth.client_secret) if one)

    @property
    def commands(self) -> tuple[str, ...]:
        """The command line that it starts, for a person who reviews it."""
        import shlex

        if self.command is None:
            return ()
        confined = "unconfined" if self.sandbox == "off" else "confined"
        return (f"{shlex.join((self.command, *self.args))}  ({confined})",)


def readiness(id: str, server: McpServer, environ: Mapping[str, str], slots: Mapping[str, str | None]) -> str | None:
    """Return the reason why a server cannot be used for lack of a credential, in one sentence; None if it can."""
    for ref in server.slots:
        if (reason := routes.lacking(ref, environ, slots)) is not None:
            return f"The MCP server {id!r} is not ready: {reason}"
    return None


def digest(server: McpServer) -> str:
    """Return the digest of what determines a connection: all of the file but the selection of tools."""
    doc = server.model_dump(mode="json", exclude={"tools", "trust_annotations", "timeout", "start_timeout"})
    return hashlib.sha256(orjson.dumps(doc, option=orjson.OPT_SORT_KEYS)).hexdigest()
