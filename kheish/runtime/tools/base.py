"""The interface of tools: a name, its arguments, an effect class, a replay class, limits, and one async function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kheish.beneath import NOTHING, Door, Hidden
from kheish.runtime.tools.parsing import Arguments as Arguments, form

if TYPE_CHECKING:
    from kheish.domain.events import Draft
    from kheish.jobs.commands import Commands
    from kheish.runtime.assets.service import Assets
    from kheish.runtime.memory.recall import Memory
    from kheish.runtime.skills.service import Skills
    from kheish.state.state import State


class Effect(StrEnum):
    """The effect of a call; the permission mode decides by it if no rule matches."""

    READ = "read"
    WRITE = "write"
    EFFECT = "effect"
    COORDINATION = "coordination"


class Replay(StrEnum):
    """The recovery of a call that has started and has no outcome (`runs.md`, "What a restart does")."""

    SAFE = "safe"  # runs again
    BY_DIGEST = "by_digest"  # the files' digests before and after determine whether it happened
    UNSAFE = "unsafe"  # ambiguous: a person or a policy decides, unless a job shows the outcome


class ToolError(Exception):
    """A failed call whose text is reported to the model as its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The data and services of a call."""

    session_id: str
    run_id: str
    call_id: str
    agent_id: str
    workspace: Path
    key: str  # stable over restarts: the idempotency key of this call
    state: State  # to read; changes are returned as `Result.drafts`
    jobs: Commands
    output: Callable[[str], None]  # live output, as it arrives (`tool.output`)
    note: Mapping[str, Any] = field(default_factory=dict)  # the note of `plan` in `tool.started`
    network: bool = False  # whether the rule that allowed the call has `network: true`
    hidden: Hidden = NOTHING
    judged: Mapping[str, str] | None = None  # the targets of the call's paths, as the rules were evaluated
    memory: Memory | None = None
    skills: Skills | None = None
    mounted: Mapping[str, Path] | None = None  # on a worker: the folders of the skills in use, by name
    assets: Assets | None = None
    worker: str | None = None  # the worker that its workspace is on; None: this machine
    as_read: bool = False  # whether a command line runs as the rules parsed it, not as it was written

    @property
    def door(self) -> Door:
        """The access to everything beneath the workspace. Raises ToolError where that is on a worker."""
        if self.worker is not None:
            raise ToolError(
                f"The workspace is on the worker {self.worker}, and this tool reads the daemon's machine only. "
                "Use bash, read_file and the other file tools."
            )
        return Door(self.workspace, self.hidden, self.judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result for the model, and further events, journaled in one group with `tool.finished`. `uses`: other sessions
    that these events are for; `owners`: streams and owners that they are for."""

    content: str
    is_error: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)  # for people and clients: diff, exit_status, …
    drafts: tuple[Draft, ...] = ()
    uses: tuple[str, ...] = ()
    owners: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """A waiting call: `drafts` (a question, a child agent) are journaled together with the run's waiting status."""

    drafts: tuple[Draft, ...]
    waiting: str  # the run's status meanwhile: waiting_for_question | waiting_for_agent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tool:
    """A tool. `run` raises ToolError for failures that the model should see; any other exception is a defect.

    `arguments` is a pydantic model (a subclass of Arguments; `run` gets an instance) or a JSON Schema of type object
    (`run` gets a dict). It becomes `schema`, as the model sees it, and `parse`, which takes a model's arguments and
    raises parsing.InvalidArguments. An invalid JSON Schema raises parsing.InvalidSchema.

    `true_name` is the name that rules and scopes match, where it is not `name`. `resume` continues a call whose server
    asked the user for input: it returns the note of the next attempt, or an outcome.

    `plan` runs before `tool.started` is journaled and returns the entry's note: `{"job": id}` for a command,
    `{"before": sha256 | None, "after": sha256, "path": …}` for an edit. It has no effect outside the job folder.
    `preview` returns the diff that a call would make, for a user who has to allow it, or None. `recover` decides a call
    that has started and shows no end: a Result, or None if the outcome is unknown (ambiguous).
    """

    name: str
    true_name: str = ""
    description: str
    arguments: InitVar[type[Arguments] | Mapping[str, Any]]
    schema: Mapping[str, Any] = field(init=False)
    parse: Callable[[Mapping[str, Any]], Any] = field(init=False)
    blocks: bool = field(init=False)  # whether `parse` may wait for a confined child
    effect: Effect
    replay: Replay
    run: Callable[[Any, Context], Awaitable[Result | Suspended]]
    plan: Callable[[Any, Context], Awaitable[Mapping[str, Any]]] | None = None
    recover: Callable[[Any, Context], Awaitable[Result | Suspended | None]] | None = None
    preview: Callable[[Any, Context], Awaitable[str | None]] | None = None
    resume: Callable[[Any, Context], Awaitable[Mapping[str, Any] | Result | Suspended]] | None = None
    max_result_bytes: int = 64 * 1024
    network: bool = False  # it reaches the network by itself; a command does if a rule says so
    timeout: float = 120.0  # seconds; `bash` has an argument of its own
    suspends: bool = False  # whether a call that reads may make its run wait: it does not run beside others

    def __post_init__(self, arguments: type[Arguments] | Mapping[str, Any]) -> None:
        made = form(arguments)
        for name in ("schema", "parse", "blocks"):
            object.__setattr__(self, name, getattr(made, name))

    @property
    def ruled_name(self) -> str:
        """The name that rules and scopes match."""
        return self.true_name or self.name
