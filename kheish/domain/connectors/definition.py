"""The file of a connector, `connectors/<id>.yaml`: where input comes from, how it is verified, and what it leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kheish.domain.connectors import expressions, templates
from kheish.domain.connectors.rates import check as check_rate
from kheish.domain.playbooks.manifest import Requirement
from kheish.domain.routes import Generation, Slug, lacking
from kheish.domain.schedules.definition import FlowStart, NewSession, ScheduleBudget
from kheish.settings import ReplyTarget, Size
from kheish.store.edits.problems import Finding, Rejected

#: the audience of leases and scopes: `connector:alerts`
AUDIENCE = "connector:"
#: bytes of a body that the API reads at all
MOST_BYTES = 4 * 1024 * 1024
KINDS = ("http", "slack", "telegram")
#: kinds with conversations, where answers and buttons go back to
CHATS = ("slack", "telegram")
Ref = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
_Expression = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(expressions.check)]
_Selector = Annotated[str, Field(min_length=1, max_length=128)]
_Template = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(templates.check)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _settings(value: Any) -> Any:
    return {} if value is True else value


class Verify(_Part):
    """The proof that a request comes from the sender."""

    scheme: Literal["bearer", "hmac", "standard_webhooks", "github"] | None = None
    """For http. bearer: `Authorization: Bearer`; hmac: HMAC-SHA256 over time and body; standard_webhooks: the headers
    `webhook-*` or `svix-*`; github: `X-Hub-Signature-256`."""
    secret: Ref | None = None
    """The slot of the secret, or `env:NAME`: for slack with `mode: http` the app's signing secret, for telegram with
    `mode: webhook` the secret token. With bearer it may be left out: then Kheish's own tokens with the role
    `ingress:<connector>` are accepted alone."""
    header: _Header = "X-Signature"
    """For hmac: the header of the signature, in hex or Base64; `sha256=` and `v1=` before it are skipped."""
    timestamp_header: _Header = "X-Timestamp"
    """For hmac: the header of the time, in seconds since 1970. The signature covers `<time>.<body>`."""

    @model_validator(mode="after")
    def _has_secret(self) -> Verify:
        if self.scheme != "bearer" and self.secret is None:
            raise ValueError("secret: is missing, the slot of the secret")
        return self


class SessionPolicy(_Part):
    """The session that a request leads to: exactly one of `fixed`, `key`, `payload` and `new`."""

    fixed: Slug | None = None
    """One session for all."""
    key: _Template | None = None
    """A template of a binding key, such as `slack:{channel}:{thread_ts}`. A key leads to the same session for good."""
    payload: _Expression | None = None
    """A JMESPath expression for the id of the session. For http only."""
    new: Annotated[NewSession, BeforeValidator(_settings)] | None = None
    """A session of its own for each request, with these settings; `{}` for the defaults."""
    settings: NewSession | None = None
    """The settings of a session that `fixed`, `key` or `payload` creates."""

    @model_validator(mode="after")
    def _one_policy(self) -> SessionPolicy:
        named = [name for name in ("fixed", "key", "payload", "new") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError("needs exactly one of fixed, key, payload and new")
        if self.new is not None and self.settings is not None:
            raise ValueError("settings: new has its own settings")
        return self


class TargetInput(_Part):
    """The run that each request starts."""

    instructions: str | None = Field(default=None, min_length=1, max_length=20_000)
    """A text before the content of the request: what to do with it."""
    route: _Selector | None = None
    """`route` or `route/model`; without it, the session's, or the daemon's default."""
    model: str | None = Field(default=None, min_length=1, max_length=300)
    """A model, instead of the route's."""
    generation: Generation = Field(default_factory=dict)
    """The provider's own settings, such as temperature."""
    completion: tuple[Requirement, ...] = ()
    """The conditions for completing the run. Their commands ask like the agent's own, since a file requests them."""
    budget: ScheduleBudget | None = None
    """The budget of each run."""


class TargetFlow(FlowStart):
    """The Flow that each request starts. A text of `inputs` may be a template: `{content}`, `{actor}`, `{a.b}`."""

    session: Slug | None = Field(default=None, exclude=True)
    """Not available here: the session policy decides."""

    @model_validator(mode="after")
    def _no_session(self) -> TargetFlow:
        if self.session is not None:
            raise ValueError("session: write it as the connector's session")
        return self


class TargetChannel(_Part):
    """The channel in which each request becomes a message."""

    id: Slug
    """The channel."""
    thread: Slug | None = None
    """A thread in it; without it, each message opens one."""


class Target(_Part):
    """The result of a request: exactly one of a run, a Flow and a message."""

    input: TargetInput | None = None
    """A run in the session; `{}` for the usual case."""
    flow: TargetFlow | None = None
    """A Flow."""
    channel: TargetChannel | None = None
    """A message in a channel; it needs no session."""

    @model_validator(mode="after")
    def _one_target(self) -> Target:
        if sum(one is not None for one in (self.input, self.flow, self.channel)) != 1:
            raise ValueError("needs exactly one of input, flow and channel")
        return self


class Picks(_Part):
    """JMESPath expressions that pick parts of a JSON body. For http only."""

    content: _Expression | None = None
    """The text of the input; without it, the whole body. A value that is no text is written as JSON."""
    actor: _Expression | None = None
    """The sender, for `allow.senders`, `people` and the run's metadata."""
    key: _Expression | None = None
    """A value for the session's key, as `{key}` in its template."""
    idempotency: _Expression | None = None
    """The id of the event; without it, the one of the scheme, or the header Idempotency-Key."""
    metadata: _Expression | None = None
    """An object for the run's metadata."""


class Allow(_Part):
    """Lists of what is accepted. An empty list accepts everything of its kind; `*` does so in words."""

    senders: tuple[Name, ...] = ()
    """Users of the platform; for http, values of `map.actor`."""
    chats: tuple[Name, ...] = ()
    """Channels of Slack, chats of Telegram, by id."""
    teams: tuple[Name, ...] = ()
    """Workspaces of Slack, by id."""
    events: tuple[Name, ...] = ()
    """Types of events, such as `app_mention` of Slack, or GitHub's `X-GitHub-Event`."""


def _base(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{text!r} is not an http or https URL without a password")
    return text.rstrip("/")


class ConnectorFile(_Part):
    """A connector: an entrance for outside events."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    """http, slack, telegram, or the name of an installed package's kind (entry point `kheish.connectors`)."""
    title: str | None = Field(default=None, max_length=500)
    """The name shown to people."""
    mode: Literal["socket", "http", "poll", "webhook"] | None = None
    """slack: socket (Socket Mode, the default) or http; telegram: poll (the default) or webhook."""
    token: Ref | None = None
    """The slot of the bot's token."""
    app_token: Ref | None = None
    """slack with Socket Mode: the slot of the app-level token (`xapp-…`)."""
    verify: Verify | None = None
    """The proof of the sender. Without it, requests of http are accepted on loopback alone, and only with `serve
    --allow-unauthenticated`."""
    session: SessionPolicy | None = None
    """The session of the runs. slack: a session for each thread, telegram: for each chat and topic, where it is left
    out."""
    target: Target = Field(default_factory=lambda: Target(input=TargetInput()))
    """The result of a request; a run, where it is left out."""
    map: Picks = Field(default_factory=Picks)
    """The parts of a JSON body."""
    people: dict[Name, Name] = Field(default_factory=dict, max_length=1000)
    """The persons behind the platform's users, `{U123: ann}`: only they may answer approvals and questions by a
    button."""
    allow: Allow = Field(default_factory=Allow)
    """The senders, chats and events that are accepted."""
    rate: Annotated[str, AfterValidator(check_rate)] = "600/m"
    """The most requests, such as `10/s`, `600/m`, `1000/h`."""
    max_bytes: Size = Field(default="1MiB", validate_default=True, ge=1, le=MOST_BYTES)
    """The largest body."""
    reply_targets: Annotated[tuple[ReplyTarget, ...], Field(max_length=50)] = ()
    """The targets of outputs; slack and telegram answer in the conversation of the message."""
    api_base: Annotated[str, Field(max_length=2000), AfterValidator(_base)] | None = None
    """The address of the platform's API, for a server of your own."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The settings of an installed package's kind."""
    disabled: bool = False
    """Whether it is switched off."""

    @model_validator(mode="after")
    def _fits(self) -> ConnectorFile:
        check = _CHECKS.get(self.kind)
        wrong = [*(check(self) if check is not None else ()), *_session_faults(self)]
        if wrong:
            raise Rejected(*wrong)
        return self

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it uses."""
        verify = self.verify.secret if self.verify is not None else None
        return tuple(dict.fromkeys(one for one in (self.token, self.app_token, verify) if one))

    def answers(self, connector_id: str, place: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Return the reply targets of a request from a place: those of the file, else the place itself."""
        if self.reply_targets:
            return tuple(target.plain for target in self.reply_targets)
        return ({"output": connector_id, **place},) if self.kind in CHATS and place else ()

    @property
    def way(self) -> Literal["socket", "http", "poll", "webhook"]:
        """The mode in effect."""
        return self.mode or _MODES.get(self.kind, ("http",))[0]  # type: ignore[return-value]  # texts of a table

    @property
    def policy(self) -> SessionPolicy:
        """The session policy in effect."""
        return self.session or _SESSIONS.get(self.kind, SessionPolicy(new=NewSession()))

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """Yield the definitions that it names: the place in the file, the kind and the id."""
        if self.target.input is not None and self.target.input.route is not None:
            yield ("target", "input", "route"), "routes", self.target.input.route.partition("/")[0]
        if self.target.channel is not None:
            yield ("target", "channel", "id"), "channels", self.target.channel.id
        for at, target in enumerate(self.reply_targets):
            yield ("reply_targets", at, "output"), "outputs", target.output
        for name in ("new", "settings"):
            made: NewSession | None = getattr(self.session, name, None)
            if made is not None and made.route is not None:
                yield ("session", name, "route"), "routes", made.route.partition("/")[0]
            if made is not None and made.persona is not None:
                yield ("session", name, "persona"), "personas", made.persona


_MODES: Mapping[str, tuple[str, ...]] = {"slack": ("socket", "http"), "telegram": ("poll", "webhook")}
_SESSIONS: Mapping[str, SessionPolicy] = {
    "slack": SessionPolicy(key="slack:{channel}:{thread_ts}"),
    "telegram": SessionPolicy(key="telegram:{chat}:{topic}"),
}


def _session_faults(file: ConnectorFile) -> Iterator[Finding]:
    if file.kind == "http" and file.session is None and file.target.channel is None:
        yield Finding(("session",), "is missing: write fixed: NAME, key: TEMPLATE, payload: EXPRESSION or new: {}")
    if file.kind != "http":
        if file.map != Picks():
            yield Finding(("map",), "is for http; messages have their own content and sender")
        if file.session is not None and file.session.payload is not None:
            yield Finding(("session", "payload"), "is for http; write key: TEMPLATE")
    if file.mode is not None and file.mode not in _MODES.get(file.kind, ("http",)):
        ways = ", ".join(_MODES.get(file.kind, ("http",)))
        yield Finding(("mode",), f"{file.mode!r} is none of {file.kind}; use {ways}")


def _http_faults(file: ConnectorFile) -> Iterator[Finding]:
    for name in ("token", "app_token", "api_base"):
        if getattr(file, name) is not None:
            yield Finding((name,), "is not for http; its secret belongs into verify")
    if file.verify is not None and file.verify.scheme is None:
        yield Finding(("verify", "scheme"), "is missing: bearer, hmac, standard_webhooks or github")


def _slack_faults(file: ConnectorFile) -> Iterator[Finding]:
    yield from _scheme_faults(file)
    if file.token is None:
        yield Finding(("token",), "is missing: the slot of the bot's token (xoxb-…)")
    if file.way == "socket" and file.app_token is None:
        yield Finding(("app_token",), "is missing: Socket Mode needs the slot of an app-level token (xapp-…)")
    if file.way == "http" and file.verify is None:
        yield Finding(("verify",), "is missing: {secret: SLOT} with the app's signing secret")


def _scheme_faults(file: ConnectorFile) -> Iterator[Finding]:
    if file.verify is not None and file.verify.scheme is not None:
        yield Finding(("verify", "scheme"), f"is for http; {file.kind} has its own")


def _telegram_faults(file: ConnectorFile) -> Iterator[Finding]:
    yield from _scheme_faults(file)
    if file.token is None:
        yield Finding(("token",), "is missing: the slot of the bot's token")
    if file.way == "webhook" and file.verify is None:
        yield Finding(("verify",), "is missing: {secret: SLOT} with the secret token that setWebhook was given")
    if file.app_token is not None:
        yield Finding(("app_token",), "is for slack")
    if not file.allow.chats and not file.allow.senders:
        yield Finding(
            ("allow",), "needs chats or senders: every user of Telegram may write to a bot; ['*'] accepts all of them"
        )


_CHECKS = {"http": _http_faults, "slack": _slack_faults, "telegram": _telegram_faults}


def readiness(id: str, file: ConnectorFile, environ: Mapping[str, str], slots: Mapping[str, str | None]) -> str | None:
    """Return the reason why a connector lacks a credential, in one sentence; None if it lacks none."""
    for ref in file.slots:
        if (reason := lacking(ref, environ, slots)) is not None:
            return f"The connector {id!r} is not ready: {reason}"
    return None


def is_listed(allowed: tuple[str, ...], value: str | None) -> bool:
    """Return whether a list accepts a value; an empty one accepts all."""
    return not allowed or "*" in allowed or (value is not None and value in allowed)
