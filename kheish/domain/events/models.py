"""Events of model requests and answers, and of the checks of a finished task."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.memory import MemoryLoaded
from kheish.domain.events.runs import RunError
from kheish.domain.events.skills import KeptSkill
from kheish.domain.shown import View
from kheish.state.event import Arguments, Event, Text, frozen


@frozen
class Usage:
    """The cost of one answer. `cost_usd` is None for a route without a price; `estimated`: the server counted nothing,
    so tokens are estimated from characters."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False


@frozen
class Spent(View):
    """Usage so far; `cost_usd` is null if a route has no price. `estimated`: some tokens are counted from the
    characters, because the server reported none."""

    shown_as = "RunUsage"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    cost_usd: float | None = None
    estimated: bool = False  # partly estimated from characters, for a server that counted nothing


@frozen
class ModelCall:
    """A tool call in an answer.

    `malformed` is the raw text of arguments that are not a JSON object. `has_secret`: the arguments held a known
    secret, which the journal omits, so the call cannot run as requested. `left_out`: the answer had more calls than
    allowed; this call, the last, is not run and reports how many were dropped.
    """

    id: str
    name: str
    arguments: Arguments = field(default_factory=dict)
    malformed: Text | None = None
    has_secret: bool = False
    left_out: int = 0


@frozen
class PromptPart:
    """A part of a prompt by its name, with about how many tokens it has."""

    name: str
    tokens: int


@frozen
class ModelRequested(Event):
    """A request to the model. `digest` is the sha256 of the canonical request, which earlier entries can rebuild."""

    kind = "model.requested"
    turn: int
    attempt: int
    route: str
    model: str | None
    digest: str
    purpose: str = "turn"  # turn | compaction
    omitted: tuple[str, ...] = ()  # what did not fit into the prompt, in words; the journal keeps it
    memory: tuple[MemoryLoaded, ...] = ()  # the memory files in the prompt, by content
    sections: dict[str, str] = field(
        default_factory=dict
    )  # digests of the sections that changed since the last request
    parts: tuple[PromptPart, ...] = ()  # of the prompt: sections of the instructions, tools, the conversation
    window: int | None = None  # tokens of the model's window, where it is known


@frozen
class ModelResponded(Event):
    kind = "model.responded"
    spillable = ("text", "calls", "opaque")
    turn: int
    text: Text
    calls: tuple[ModelCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    route: str = ""
    model: str | None = None
    opaque: Any = None


@frozen
class ModelFailed(Event):
    """A failed attempt. `text` and `usage` cover the part before the failure; `finish_reason` says how that part
    ended."""

    kind = "model.failed"
    spillable = ("text",)
    turn: int
    attempt: int
    route: str
    error: RunError
    error_kind: str
    status: int | None = None
    retry_in: float | None = None  # seconds until the next attempt; None: no further attempt on this route
    patient: bool = False  # beyond the retries of all routes: waits for a server to return
    purpose: str = "turn"
    finish_reason: str | None = None
    text: Text = ""
    usage: Usage = Usage()


@frozen
class ContextCompacted(Event):
    kind = "context.compacted"
    checkpointed = True
    spillable = ("summary", "skills")
    summary: Text
    covers: int  # the last `seq` that the summary replaces
    usage: Usage = Usage()
    made_by: Literal["model", "daemon"] = "model"  # the daemon truncates if no summary was possible
    skills: tuple[KeptSkill, ...] = ()  # those that were loaded before, and stay


@frozen
class Nudged(Event):
    """A message from the daemon to the model in a separate turn: a failed contract, a limit."""

    kind = "run.nudged"
    text: str
    reason: str  # output_contract | completion


@frozen
class CompletionStarted(Event):
    """The start of completion checks: the answer of `turn` is meant as the last, and `calls` by the daemon check it."""

    kind = "completion.started"
    turn: int
    calls: tuple[ModelCall, ...]


@frozen
class CompletionChecked(Event):
    """The result of each requirement: `{number, met, told}`; `met` is null for one that cannot be checked."""

    kind = "completion.checked"
    turn: int
    findings: tuple[dict[str, Any], ...]
    met: bool
    commands_met: bool  # if so, they are not rerun before another tool is called
