"""Events of hooks: those that a run has, their outcomes in its session; and each invocation, in the stream `hooks`."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from kheish.domain.events.models import Usage
from kheish.domain.shown import View
from kheish.state.event import Arguments, Event, Text, frozen

HOOKS = "hooks"
#: blocked: it refused; failed: it gave no answer (`failure` decides); untrusted: it was not started
HookResult = Literal["ok", "blocked", "failed", "untrusted", "cancelled"]


@frozen
class ChosenHook:
    """A hook of a run, as its file was when the run began. `untrusted` is the reason why it is not started."""

    id: str
    digest: str
    file: dict[str, Any]
    untrusted: str | None = None
    files: dict[str, str] = field(default_factory=dict)  # the files that it names, with their digests


@frozen
class HooksChosen(Event):
    """The hooks of the run. Later edits of their files do not concern it."""

    kind = "hooks.chosen"
    hooks: tuple[ChosenHook, ...]


@frozen
class HookOutcome(View):
    """The outcome of a hook at one point."""

    shown_as = "HookOutcome"
    hook: str
    invocation_id: str
    result: HookResult
    reason: str | None = None
    observed: bool = False  # it had no say
    duration_ms: int = 0
    system_message: str | None = None


@frozen
class HooksRan(Event):
    """The outcome of all hooks at one point of a run: `point` is `stop:3`, or `pre_tool_use:<call>`.

    `decision` is the strictest of theirs. `arguments` replace those of the call, and `output` replaces its result.
    `context` is for the model.
    """

    kind = "hooks.ran"
    spillable = ("arguments", "output", "context")
    event: str
    point: str
    outcomes: tuple[HookOutcome, ...]
    call_id: str | None = None
    passed: tuple[str, ...] = ()  # calls at which no hook had anything to do
    decision: Literal["allow", "ask", "deny"] | None = None
    decided_by: str | None = None
    reason: str | None = None
    arguments: Arguments | None = None
    has_secret: bool = False  # the new arguments hold a stored secret, so that the call is refused
    output: Text | None = None
    context: Text | None = None
    stop_reason: str | None = None  # not null: `continue: false`
    retry: bool = False
    usage: Usage = Usage()
    model_calls: int = 0  # of hooks that ask a model


@frozen
class _OfHook(Event):
    """The base of the entries of one hook."""

    stream = HOOKS
    owned_by = "hook"
    journal_per_owner = True
    hook: str


@frozen
class HookInvoked(_OfHook):
    """A hook that is about to run. `input` is what it reads, if no run can give it again after a restart."""

    kind = "hook.invoked"
    invocation_id: str
    event: str
    executor: str
    digest: str
    session_id: str | None = None
    run_id: str | None = None
    input: dict[str, Any] | None = None


@frozen
class HookSettled(_OfHook):
    """The end of an invocation. `dead`: it failed, after all its attempts."""

    kind = "hook.settled"
    invocation_id: str
    result: HookResult
    attempts: int
    reason: str | None = None
    exit_code: int | None = None
    duration_ms: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    dead: bool = False
