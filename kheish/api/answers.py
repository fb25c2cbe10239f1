"""Responses as classes of annotations (`answer.Answer`)."""

from __future__ import annotations

from typing import Any, Literal

from kheish.api.http.answer import Answer


class RunItem(Answer):
    """A part of the request."""

    type: Literal["text", "asset"]
    text: str | None
    asset_id: str | None


class RunRequest(Answer):
    """The request, and its author."""

    actor: str
    source: str
    items: list[RunItem]
    metadata: dict[str, Any]


class RunUsage(Answer):
    """Usage of the run so far; `cost_usd` is null if its route has no price. `estimated`: some tokens are counted from
    the characters, because the server reported none.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    model_calls: int
    tool_calls: int
    cost_usd: float | None
    estimated: bool


class RunTreeUsage(RunUsage):
    """Usage of the run so far, and of the agents that it spawned."""

    own: RunUsage
    subtree: RunUsage
    """With the usage of all agents below it."""


class StoppedWork(Answer):
    """What a stop took with it, the innermost first."""

    agents: list[str]
    runs: list[str]
    tasks: list[str]
    """Background commands."""


class RunWait(Answer):
    """A model server that a run waits for: the last failure, and when the next attempt is due (null during one)."""

    route: str
    code: str
    message: str
    attempts: int
    since: str
    until: str | None


class RunOutput(Answer):
    """Interim output of a run."""

    output_id: str
    kind: str
    content: str


class RunFailure(Answer):
    """The reason for a run's failure."""

    code: str
    message: str
    retryable: bool


class Scope(Answer):
    """A restriction (by `origin`) of tools, or of routes and accounts: globs over names."""

    origin: str
    allow: list[str] | None
    """The permitted names; null: all."""
    deny: list[str]


class AppliedToolPolicy(Scope):
    """A restriction of the tools that a run may call, besides the permissions; set by a Playbook, never by a caller."""


class RunSettings(Answer):
    """The settings of a run, frozen when it was accepted."""

    permission_mode: str
    workspace: str
    generation: dict[str, Any]
    limits: dict[str, Any]
    output_contract: dict[str, Any] | None
    completion: list[str | dict[str, Any]]
    checks_ask: bool
    """Whether the commands of `completion` are subject to the rules like the agent's own commands: they came from a
    file.
    """
    unattended: str = "ask"
    """`deny`: calls that would ask a person are denied, and questions are declined (schedules)."""
    tool_policies: list[AppliedToolPolicy]
    capability_scope: list[Scope]
    """The tools, skills and MCP servers that the agent sees; all of the restrictions apply."""
    credential_scope: list[Scope]
    """The routes, connectors and accounts in use; all of the restrictions apply."""
    persona: dict[str, Any] | None
    phase_text: str | None


class Run(Answer):
    """A run."""

    run_id: str
    session_id: str
    agent_id: str
    kind: str
    status: Literal[
        "queued",
        "running",
        "waiting_for_approval",
        "waiting_for_question",
        "waiting_for_agent",
        "completed",
        "failed",
        "interrupted",
        "cancelled",
    ]
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    queue_position: int | None
    """Position in the queue, from 1; null if the run does not wait for its session."""
    n: int
    """The newest event of the run."""
    retry_of: str | None
    request: RunRequest
    route: str
    model: str | None
    mode: str
    settings: RunSettings
    pending_approvals: list[str]
    pending_questions: list[str]
    waits_for: RunWait | None
    """The model server that it waits for."""
    usage: RunTreeUsage
    output: str | None
    """The final text."""
    outputs: list[RunOutput]
    error: RunFailure | None
    flow: dict[str, Any] | None
    stopped: StoppedWork | None = None
    """What a cancel took with it; only its answer has this."""


class Session(Answer):
    """A session."""

    session_id: str
    status: Literal["idle", "busy", "ended"]
    title: str | None
    created_at: str
    ended_at: str | None
    workspace: str | None
    route: str | None
    permission_mode: str
    permission_rules: list[dict[str, Any]]
    persona: dict[str, Any] | None
    """The snapshot that the session is bound to."""
    labels: dict[str, str]
    budget: dict[str, Any] | None
    input_contract: dict[str, Any] | None
    output_contract: dict[str, Any] | None
    reply_targets: list[dict[str, Any]]
    while_waiting: Literal["hold", "park"]
    capability_scope: dict[str, Any] | None
    """The tools that its agent sees: `allow` and `deny`."""
    credential_scope: dict[str, Any] | None
    """The routes and accounts that its runs use: `allow` and `deny`."""
    active_run_id: str | None
    queued_runs: int
    agent_id: str
    forked_from: dict[str, Any] | None
    tainted_by: str | None
    path: str
    """Its folder in the state root."""
    last_n: int


class Option(Answer):
    """A choice."""

    id: str
    label: str
    description: str | None


class Asked(Answer):
    """One of the items of a question."""

    id: str
    header: str
    text: str
    options: list[Option]
    multi_select: bool
    free_text: bool


class Question(Answer):
    """A question of an agent, with one or more items."""

    question_id: str
    session_id: str
    run_id: str
    status: Literal["pending", "answered", "declined", "expired", "cancelled"]
    questions: list[Asked]
    asked_at: str
    expires_at: str | None
    answers: dict[str, Any] | None


class Event(Answer):
    """A journal line, verbatim."""

    v: int
    n: int
    seq: int
    at: str
    kind: str
    actor: str
    data: dict[str, Any]


class FileProblem(Answer):
    """A problem in a file."""

    problem_id: str
    path: str
    line: int | None
    column: int | None
    severity: Literal["error", "warning"]
    code: str
    message: str
    suggestion: str | None
    since: str


class Verdict(Answer):
    """The decision that a call would get."""

    decision: Literal["allow", "ask", "deny"]
    why: str


class Validation(Answer):
    """The result of validating a definition, with its problems."""

    valid: bool
    problems: list[dict[str, Any]]


class DefinitionState(Answer):
    """The state of a definition, and the files that refer to it."""

    state: Literal["ready", "not_ready", "invalid", "deleted"]
    last_error: str | None
    """The reason why it is not ready, or the problem in its file; the last valid version is then in force."""
    observed_digest: str | None
    """sha256 of the file as last read; null if the file is missing."""
    bindings: list[str]
    """The files that refer to it."""


class Definition(Answer):
    """A definition: its own fields, and the following."""

    id: str
    path: str
    etag: str
    """The git blob id of the file."""
    status: DefinitionState


class UsageRow(Answer):
    """Usage and cost. With `by`, the fields that are summed over are null."""

    session_id: str | None
    route: str | None
    day: str | None
    model_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    estimated: bool


class LogLine(Answer):
    """A line of the daemon's log; `text` may have several lines if a traceback follows."""

    number: int
    at: str
    level: str
    name: str
    text: str


class Commit(Answer):
    """A commit of the state root."""

    commit: str
    parents: list[str]
    message: str
    trailers: dict[str, list[str]]
    author: dict[str, str]
    time: int
    """Seconds since 1970."""


class Paused(Answer):
    """The paused parts of the daemon."""

    everything: bool
    routes: list[str]
