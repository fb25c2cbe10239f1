"""Routes: named ways to a model, described in `routes/<id>.yaml`; the choice of a run's route, and its cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from kheish import ids
from kheish.domain.scripts import Duration, Script
from kheish.errors import Fault, Invalid, RouteRequired
from kheish.ids import MOST

_ENV = "env:"
#: keys of a request that the driver sets itself; `generation` cannot replace them
_RESERVED_GENERATION = frozenset({"model", "messages", "tools", "stream", "api_key", "api_base", "timeout"})
#: settings that a caller may give for a route of litellm. It takes addresses, files and credentials as ordinary
#: arguments (`base_url`, `fallbacks`, `extra_headers`, each provider's own), so a list of forbidden ones would never be
#: complete.
_OF_CALLERS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "min_p", "n",
    "parallel_tool_calls", "presence_penalty", "reasoning_effort", "repetition_penalty", "response_format",
    "safety_identifier", "seed", "service_tier", "stop", "stream_options", "temperature", "thinking", "tool_choice",
    "top_k", "top_logprobs", "top_p", "user", "verbosity",
})  # fmt: skip


def _slug(text: str) -> str:
    if not ids.is_slug(text):
        raise ValueError(f"{text!r} is not a legal name")
    return text


def _auth_ref(text: str) -> str:
    if text.startswith(_ENV):
        name = text.removeprefix(_ENV)
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"{text!r} names no environment variable: write env:NAME")
        return text
    return _slug(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not an http or https address, such as http://127.0.0.1:8080/v1")
    if parts.username or parts.password:
        raise ValueError("an address must not contain a credential; use auth_ref")
    return text


def _generation(values: dict[str, Any]) -> dict[str, Any]:
    if reserved := sorted(_RESERVED_GENERATION & values.keys()):
        raise ValueError(f"{', '.join(reserved)} cannot be set here")
    return values


def _path_or_inline(value: Any) -> str:
    return "path" if isinstance(value, str) else "inline"


# The tag restricts the errors to one branch; it is an element of their `loc`: ("script", "inline", "turns", 0, …).
PathOrScript = Annotated[
    Annotated[str, Tag("path"), Field(min_length=1)] | Annotated[Script, Tag("inline")], Discriminator(_path_or_inline)
]
Slug = Annotated[str, AfterValidator(_slug)]
#: the provider's own settings, such as temperature and max_tokens; passed on unchanged
Generation = Annotated[dict[str, Any], AfterValidator(_generation)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Capabilities(_Part):
    """The capabilities of the model."""

    context_window: int | None = Field(default=None, gt=0, le=MOST)
    """The context window: tokens of prompt and answer together; prompts are cut to fit."""
    streaming: bool = True
    """Whether answers are streamed."""
    tools: bool = True
    """Whether the model is given tools."""
    vision: bool = False
    """Whether the model accepts images."""
    transcription: bool = False
    """Whether the model writes the text of recordings (`/audio/transcriptions`)."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        """Return the mapping for a list of names: `[transcription]`."""
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return dict.fromkeys(value, True)
        return value


class RouteBudget(_Part):
    """The budget of one run on this route; the narrowest of all budgets applies."""

    model_calls: int | None = Field(default=None, ge=0, le=MOST)
    """Model calls."""
    tokens: int | None = Field(default=None, ge=0, le=MOST)
    """Tokens, input and output together."""
    cost_usd: float | None = Field(default=None, ge=0, le=MOST)
    """US dollars; needs a price."""


class RouteLimits(_Part):
    """The provider's limits, over all runs of this daemon."""

    requests_per_minute: int | None = Field(default=None, gt=0, le=MOST)
    """Model calls per minute."""
    tokens_per_minute: int | None = Field(default=None, gt=0, le=MOST)
    """Tokens per minute, input and output together."""
    concurrency: int | None = Field(default=None, gt=0, le=MOST)
    """Concurrent model calls."""


class Price(_Part):
    """US dollars per million tokens."""

    input_per_mtok: float = Field(ge=0, le=MOST)
    """Per million tokens of the prompt."""
    output_per_mtok: float = Field(ge=0, le=MOST)
    """Per million tokens of the answer."""
    cached_input_per_mtok: float | None = Field(default=None, ge=0, le=MOST)
    """Per million prompt tokens from the provider's cache; the default is the price of other prompt tokens."""


class Route(_Part):
    """Named access to a model."""

    driver: Literal["openai", "litellm", "scripted", "replay"]
    """`openai` for OpenAI and every compatible server, `litellm` for other providers, `scripted` for a script,
    `replay` for the answers of a recorded session."""
    model: str | None = Field(default=None, min_length=1)
    """The model's name, as the provider (or litellm) spells it; for `replay`, the id of the recorded session."""
    api_base: Annotated[str, AfterValidator(_url)] | None = None
    """The server's address, such as `http://127.0.0.1:8080/v1`; the default is the provider's own."""
    auth_ref: Annotated[str, AfterValidator(_auth_ref)] | None = None
    """A slot of the vault, or `env:NAME`; omit it if no credential is needed."""
    timeout: Duration = "10m"
    """The time limit of one model call, such as `240s`."""
    inactivity_timeout: Duration = "5m"
    """The longest pause within a streamed answer."""
    max_retries: int = Field(default=4, ge=0, le=100)
    """The number of retries of a failed call before the fallbacks."""
    patience: Duration = "5m"
    """The time to wait for a server that is unreachable, loading its model or overloaded, if no other route is left;
    `0s`: none."""
    capabilities: Capabilities = Capabilities()
    """The capabilities of the model: context window, streaming, tools, vision, transcription; also a list of names."""
    budget: RouteBudget | None = None
    """The budget of one run on this route."""
    limits: RouteLimits = RouteLimits()
    """The provider's limits, over all runs."""
    price: Price | None = None
    """The price of tokens; needed for limits in US dollars."""
    fallbacks: tuple[Slug, ...] = ()
    """Routes to try, in this order, if this route fails."""
    generation: Generation = Field(default_factory=dict)
    """Defaults for the provider's own settings, such as `temperature` and `max_tokens`."""
    script: PathOrScript | None = None
    """For `driver: scripted`: the script, or the path of its file beside this one."""

    @model_validator(mode="after")
    def _model_or_script(self) -> Route:
        if self.driver == "scripted":
            if self.script is None:
                raise ValueError("driver scripted needs script")
        elif self.script is not None:
            raise ValueError(f"script is for driver scripted, not {self.driver}")
        elif self.model is None and self.driver != "replay":
            raise ValueError(f"driver {self.driver} needs model")
        return self


class Tokens(Protocol):
    """Counted tokens; the cached ones are part of the input."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...


def cost_usd(route: Route, usage: Tokens) -> float | None:
    """Return the cost of `usage` on this route; None for a route without a price."""
    price = route.price
    if price is None:
        return None
    cached_price = price.input_per_mtok if price.cached_input_per_mtok is None else price.cached_input_per_mtok
    cached = min(usage.cached_tokens, usage.input_tokens)
    read = (usage.input_tokens - cached) * price.input_per_mtok + cached * cached_price
    return (read + usage.output_tokens * price.output_per_mtok) / 1_000_000


def readiness(route_id: str, route: Route, environ: Mapping[str, str], slots: Mapping[str, str | None]) -> str | None:
    """Return the reason why the route cannot be used, in one sentence; None if it can be used.

    `slots`: the slots of the vault and the revoked variables, each with the reason why it cannot be used (None: it
    can).
    """
    reason = None if route.auth_ref is None else lacking(route.auth_ref, environ, slots)
    return None if reason is None else f"Route {route_id!r} is not ready: {reason}"


def lacking(ref: str, environ: Mapping[str, str], slots: Mapping[str, str | None]) -> str | None:
    """Return the reason why a slot, or a variable (`env:NAME`), cannot be used; None if it can."""
    if reason := slots.get(ref):
        return f"the credential {ref!r} cannot be used: {reason}"
    if ref.startswith(_ENV):
        name = ref.removeprefix(_ENV)
        has_value = bool(environ.get(name, "").strip())
        return None if has_value else f"the daemon's environment has no {name} ({ref})."
    return None if ref in slots else f"there is no secret {ref!r} yet: kheish secrets set {ref}"


def from_environment(ref: str, environ: Mapping[str, str]) -> str | None:
    """Return the value of the variable in `env:NAME`; None if `ref` is a slot, or the variable is missing."""
    return environ.get(ref.removeprefix(_ENV), "").strip() or None if ref.startswith(_ENV) else None


def driver_settings(route: Route, script: Script | None = None) -> dict[str, Any]:
    """Return the settings of a route that its driver needs, as plain data: seconds, and the script if it came from a
    file."""
    settings: dict[str, Any] = {
        "api_base": route.api_base,
        "auth_ref": route.auth_ref,  # its name, for messages
        "timeout": ids.duration(route.timeout),
        "inactivity_timeout": ids.duration(route.inactivity_timeout),
    }
    inline = route.script if isinstance(route.script, Script) else script
    if inline is not None:
        settings["script"] = inline.model_dump(mode="json", exclude_unset=True)
    return settings


def choose(selector: str | None, default_route: str | None, routes: Mapping[str, Route]) -> tuple[str, str | None]:
    """Return the route's id, and the model if `selector` is `route/model` (the model may contain more slashes).

    Without a selector: `default_route` of kheish.yaml, else the only route. Raises RouteRequired, and Invalid for an
    unknown route.
    """
    if selector is None:
        return _default(default_route, routes), None
    route_id, slash, model = selector.partition("/")
    if route_id not in routes:
        raise _unknown(f"There is no route {route_id!r}", route_id, routes)
    if slash and not model:
        detail = f"{selector!r} names no model after the '/'."
        raise Invalid(detail, errors=[Fault("/route", detail)])
    return route_id, model or None


def check_asked(route_id: str, route: Route, model: str | None, generation: Mapping[str, Any]) -> None:
    """Refuse settings that would send the route's credential to a destination not in its file. Raises Invalid.

    Only litellm reads an address from a model's name or a setting; other drivers send both as plain text.
    """
    if route.driver != "litellm":
        return
    faults = [
        Fault(f"/generation/{name}", f"cannot be set by callers on a litellm route; set it in {route_id}.yaml")
        for name, value in sorted(generation.items())
        if name not in _OF_CALLERS and (name not in route.generation or route.generation[name] != value)
    ]
    if model is not None and model != route.model:
        if "://" in model:
            faults.append(Fault("/model", f"{model!r} contains an address"))
        elif route.auth_ref and _provider(model) != _provider(route.model or ""):
            faults.append(Fault("/model", f"{model!r} is from another provider than {route.model!r} and its key"))
    if faults:
        raise Invalid("; ".join(f"{fault.path} {fault.message}" for fault in faults) + ".", errors=faults)


def destination(route: Route) -> tuple[str, ...] | None:
    """Return everything that determines where prompts go, and with which credential; None if they go nowhere."""
    if route.driver in ("scripted", "replay"):
        return None
    parts = route.driver, route.api_base or "", route.auth_ref or ""
    if route.driver != "litellm":
        return parts
    model = route.model or ""
    more = {name: value for name, value in route.generation.items() if name not in _OF_CALLERS}
    return *parts, model if "://" in model else _provider(model), json.dumps(more, sort_keys=True)


def _provider(model: str) -> str:
    """Return the provider that litellm contacts; empty if it derives the provider from the model's name alone."""
    return model.partition("/")[0] if "/" in model else ""


def _default(default_route: str | None, routes: Mapping[str, Route]) -> str:
    if default_route is not None:
        if default_route not in routes:
            raise _unknown(f"default_route of kheish.yaml names no route: {default_route!r}", default_route, routes)
        return default_route
    if len(routes) == 1:
        return next(iter(routes))
    if not routes:
        raise RouteRequired("There is no route yet: add a file routes/<id>.yaml.")
    raise RouteRequired(f"Choose a route ({_listed(routes)}), or set default_route in kheish.yaml.")


def _unknown(sentence: str, name: str, routes: Mapping[str, Route]) -> Invalid:
    if near := get_close_matches(name, routes, n=1):
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"known: {_listed(routes)}." if routes else "no routes exist yet."
    return Invalid(f"{sentence}; {hint}", errors=[Fault("/route", f"unknown route {name!r}")])


def _listed(routes: Mapping[str, Route]) -> str:
    names = sorted(routes)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
