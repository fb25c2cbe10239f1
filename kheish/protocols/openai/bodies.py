"""Requests of the OpenAI protocols: what Kheish reads, what it passes to the model, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kheish.errors import Fault, Invalid, UnsupportedParameter
from kheish.ids import MOST
from kheish.store.edits import surrogates

#: settings of chat completions that go to the model server as they are
_GENERATION = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
    "frequency_penalty", "reasoning_effort", "verbosity", "logit_bias", "service_tier",
)  # fmt: skip
#: without meaning here: they concern the provider's own storage, caches and statistics
_IGNORED = frozenset({
    "user", "safety_identifier", "store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
    "parallel_tool_calls", "include", "truncation",
})  # fmt: skip
_TOOLS = (
    "The agent has tools of its own, which run on the daemon; tools of the client are not supported. "
    "Leave {param} out, and give the agent tools by MCP servers or skills."
)


B = TypeVar("B", bound="_Body")


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, max_length=700)
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)


class ChatBody(_Body):
    """The body of `POST /chat/completions`."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)
    n: int | None = Field(default=None, le=MOST)

    def generation(self) -> dict[str, Any]:
        """Return the settings for the model server."""
        return _given(self.model_extra or {}, _GENERATION)


class ResponsesBody(_Body):
    """The body of `POST /responses`."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    reasoning: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    max_output_tokens: int | None = Field(default=None, le=MOST)

    def generation(self) -> dict[str, Any]:
        """Return the settings for the model server, under their names in chat completions."""
        known = _given(self.model_extra or {}, _GENERATION)
        if self.max_output_tokens is not None:
            known["max_completion_tokens"] = self.max_output_tokens
        if effort := (self.reasoning or {}).get("effort"):
            known["reasoning_effort"] = effort
        if verbosity := (self.text or {}).get("verbosity"):
            known["verbosity"] = verbosity
        return known


def chat(raw: bytes) -> ChatBody:
    """Return the body of a chat completion. Raises Invalid, UnsupportedParameter."""
    body = _parse(ChatBody, raw)
    if body.n not in (None, 1):
        raise UnsupportedParameter("A run has one answer; leave n out.", param="n")
    _check(body.model_extra or {}, frozenset(_GENERATION))
    return body


def responses(raw: bytes) -> ResponsesBody:
    """Return the body of a response. Raises Invalid, UnsupportedParameter."""
    body = _parse(ResponsesBody, raw)
    kind = ((body.text or {}).get("format") or {}).get("type", "text")
    if kind != "text":
        raise _of_format("text.format")
    _check(body.model_extra or {}, frozenset({"temperature", "top_p", "service_tier"}))
    return body


def _parse(model: type[B], raw: bytes) -> B:
    try:
        return model.model_validate_json(surrogates.replaced(raw))
    except ValidationError as error:
        faults = [Fault("/" + "/".join(map(str, one["loc"])), one["msg"]) for one in error.errors()[:10]]
        param = ".".join(map(str, error.errors()[0]["loc"]))
        raise Invalid(f"{param or 'body'}: {faults[0].message}", errors=faults, param=param or None) from error


def _check(more: Mapping[str, Any], passed: frozenset[str]) -> None:
    """Raise UnsupportedParameter for a parameter with a meaning that Kheish cannot give it."""
    for name, value in more.items():
        if value is None or name in passed or name in _IGNORED or _is_default(name, value):
            continue
        if name in ("tools", "functions", "tool_choice", "function_call", "web_search_options", "max_tool_calls"):
            raise UnsupportedParameter(_TOOLS.format(param=name), param=name)
        if name == "response_format":
            raise _of_format(name)
        raise UnsupportedParameter(f"The parameter {name[:100]!r} is not supported; leave it out.", param=name[:100])


def _is_default(name: str, value: Any) -> bool:
    """Return whether a value asks for what happens anyway."""
    match name:
        case "tools" | "functions":
            return not value
        case "tool_choice" | "function_call":
            return value in ("none", "auto")
        case "response_format":
            return isinstance(value, Mapping) and value.get("type") == "text"
        case "modalities":
            return bool(value == ["text"])
        case "logprobs" | "top_logprobs":
            return not value
    return False


def _of_format(param: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        "The format of answers is a setting of the session (its output_contract), not of a request; leave it out.",
        param=param,
    )


def _given(more: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: more[name] for name in names if more.get(name) is not None}
