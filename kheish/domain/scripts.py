"""The script of a `scripted` route: the answers of its model, turn by turn."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kheish import ids
from kheish.ids import MOST


def _duration(text: str) -> str:
    ids.duration(text)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from error
    return text


#: A duration as users write it, such as `50ms`, `90s`, `15m`.
Duration = Annotated[
    str,
    AfterValidator(_duration),
    Field(json_schema_extra={"pattern": r"^\d+(\.\d+)?(ms|s|m|h|d|w)$", "examples": ["50ms", "90s", "15m"]}),
]
Pattern = Annotated[str, AfterValidator(_pattern), Field(json_schema_extra={"format": "regex"})]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ScriptedCall(_Part):
    """A tool call; `{{input}}` and `{{last_result}}` are filled into every text of the arguments."""

    name: str = Field(min_length=1)
    """The tool's name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """The arguments, in the form of the tool's schema."""


class ScriptedUsage(_Part):
    """The reported token usage of the turn. Without it, one token is counted per four characters."""

    input_tokens: int = Field(default=0, ge=0, le=MOST)
    """Tokens of the prompt."""
    output_tokens: int = Field(default=0, ge=0, le=MOST)
    """Tokens of the answer."""
    cached_tokens: int = Field(default=0, ge=0, le=MOST)
    """The part of `input_tokens` that came from a cache."""


class ScriptedError(_Part):
    """A simulated failure of the call with this HTTP status."""

    status: int = Field(ge=400, le=599)
    """The HTTP status, such as 429 or 503."""
    retry_after: float | None = Field(default=None, ge=0, le=MOST)
    """The seconds that the provider asks callers to wait."""
    code: str | None = None
    """The provider's error code, such as `context_length_exceeded`."""
    message: str | None = None
    """The provider's message."""


class Turn(_Part):
    """An answer of the model, or a failed attempt."""

    text: str | None = None
    """The text of the answer; `{{input}}` and `{{last_result}}` are filled in."""
    tool_calls: tuple[ScriptedCall, ...] = ()
    """The tool calls of the answer."""
    expect: Pattern | None = None
    """A regular expression on the last tool result or message; without a match the run fails."""
    delay: Duration | None = None
    """The time before each chunk of the answer, such as `50ms`."""
    chunks: int = Field(default=1, ge=1, le=100_000)
    """The number of chunks in which the text is streamed."""
    usage: ScriptedUsage | None = None
    """The reported token usage of the turn."""
    error: ScriptedError | None = None
    """Fail instead of answering."""

    @model_validator(mode="after")
    def _one_thing(self) -> Turn:
        answers = self.text is not None or bool(self.tool_calls)
        if self.error is not None and answers:
            raise ValueError("a turn has an error, or text and tool_calls, not both")
        if self.error is None and not answers:
            raise ValueError("a turn needs text, tool_calls or error")
        return self


class ScriptPart(_Part):
    """Turns for runs whose instructions match, such as `Phase: investigate` for a phase of a Playbook."""

    prompt: Pattern
    """A regular expression on the instructions (the system message) of a run."""
    turns: tuple[Turn, ...] = Field(min_length=1)
    """The answers of such a run, in order."""


class Script(_Part):
    """The turns of a scripted model, in parts or not; or `echo: true`, which answers with the input."""

    turns: tuple[Turn, ...] = ()
    """The answers, in order: the first is for a run's first model call."""
    parts: tuple[ScriptPart, ...] = ()
    """Instead of `turns`: each run uses the first part that matches its instructions."""
    after_last: Literal["repeat", "fail"] = "repeat"
    """The behaviour after the last turn: repeat its text, or fail the run."""
    echo: bool = False
    """Whether every message is answered with itself."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Script:
        if [self.echo, bool(self.turns), bool(self.parts)].count(True) != 1:
            raise ValueError("a script needs exactly one of turns, echo: true and parts")
        return self
