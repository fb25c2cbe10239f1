"""The JSON that a daemon answers with, as types (`docs/api`). More fields may come; none is renamed."""

from __future__ import annotations

from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

Json = dict[str, Any]
FINAL = frozenset({"completed", "failed", "cancelled", "interrupted"})
RUN_ENDS = frozenset(f"run.{status}" for status in FINAL)


class Page(TypedDict, Generic[T]):
    """One page of a list, newest first (journals oldest first)."""

    items: list[T]
    next_cursor: str | None


class RunError(TypedDict):
    code: str
    message: str
    retryable: bool


class Usage(TypedDict):
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    model_calls: int
    tool_calls: int
    cost_usd: float | None
    estimated: bool


class RunWait(TypedDict):
    route: str
    code: str
    message: str
    attempts: int
    since: str
    until: str | None


class RunView(TypedDict):
    run_id: str
    session_id: str
    agent_id: str | None
    kind: str
    status: str
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    queue_position: int | None
    n: int
    retry_of: str | None
    request: Json
    route: str | None
    model: str | None
    pending_approvals: list[str]
    pending_questions: list[str]
    waits_for: RunWait | None
    usage: Usage
    output: str | None
    outputs: list[Json]
    error: RunError | None
    flow: Json | None


class FlowView(TypedDict):
    """A Flow, and what it led to."""

    flow_id: str
    playbook: str
    version: str
    digest: str
    tag: str
    commit: str | None
    title: str
    objective: str
    drive: Literal["phases", "agent"]
    session_id: str
    path: str
    status: Literal["pending", "running", "waiting", "succeeded", "failed", "cancelled", "blocked"]
    reason: str | None
    inputs: Json
    phases: list[Json]
    evidence: list[Json]
    missing: list[str]
    approvals: list[Json]
    runs: list[Json]
    agents: list[Json]
    outputs: list[Json]
    refused: list[Json]
    usage: Usage
    budget: Json | None
    reply_targets: list[Json]
    started_by: str
    started_at: str
    finished_at: str | None
    n: int


class Session(TypedDict):
    session_id: str
    status: Literal["idle", "busy", "ended"]
    title: str | None
    created_at: str
    ended_at: str | None
    workspace: str | None
    route: str | None
    permission_mode: str | None
    persona: Any
    labels: Any
    active_run_id: str | None
    queued_runs: int
    agent_id: str | None
    forked_from: Any
    capability_scope: Any
    credential_scope: Any
    path: str
    last_n: int


class ChangedFile(TypedDict):
    """A file of the workspace that a session's file tools changed."""

    path: str
    workspace: str
    change: Literal["added", "modified", "deleted"]
    runs: list[str]
    edits: int
    changed_at: str
    before_sha256: str | None
    after_sha256: str | None
    mode: str | None
    diff: str | None
    is_net: bool
    is_current: bool
    note: str | None


class SessionSettings(TypedDict, total=False):
    """What a session may be created with, or changed to."""

    title: str
    workspace: str
    route: str
    permission_mode: str
    permission_rules: list[Json]
    persona: str
    labels: dict[str, str]
    budget: Json
    input_contract: Json
    output_contract: Json
    reply_targets: list[Json]
    while_waiting: str
    capability_scope: Json
    credential_scope: Json


class Submission(TypedDict, total=False):
    """What a run may be started with, beside its content."""

    items: list[Json]
    actor: str
    source: str
    metadata: Json
    route: str
    model: str
    generation: Json
    reply_targets: list[Json]
    completion: list[Any]
    budget: Json


class Decision(TypedDict):
    decision: str
    by: str
    via: str
    reason: str | None
    at: str


class Preview(TypedDict):
    """What a call would change, seen when it was asked for."""

    diff: str
    is_whole: bool


class Approval(TypedDict):
    approval_id: str
    session_id: str
    run_id: str
    tool: str
    arguments: Json
    digest: str
    files: Any
    why: str
    risk: str
    status: Literal["pending", "allowed", "denied", "expired", "cancelled"]
    requested_at: str
    expires_at: str | None
    required: int
    decisions: list[Decision]
    came_from: NotRequired[Json]
    remember: NotRequired[Json]
    preview: NotRequired[Preview | None]


class Option(TypedDict):
    id: str
    label: str
    description: NotRequired[str | None]


class Asked(TypedDict):
    """One of the questions that are asked together."""

    id: str
    header: str
    text: str
    options: list[Option]
    multi_select: bool
    free_text: bool


class Question(TypedDict):
    question_id: str
    session_id: str
    run_id: str
    status: Literal["pending", "answered", "declined", "expired", "cancelled"]
    questions: list[Asked]
    asked_at: str
    expires_at: str | None
    answers: Any


class Task(TypedDict):
    task_id: str
    session_id: str
    run_id: str | None
    title: str
    description: str
    status: Literal["pending", "in_progress", "blocked", "completed", "failed", "cancelled"]
    owner: str | None
    blocked_by: list[str]
    output: str | None
    created_at: str
    ended_at: str | None
    n: int
    shell: Json | None


class Answer(TypedDict):
    selected: list[str]
    text: str | None


class FileProblem(TypedDict):
    problem_id: str
    path: str
    line: int | None
    column: int | None
    severity: Literal["error", "warning"]
    code: str
    message: str
    suggestion: str | None
    since: str


class Evidence(TypedDict):
    kind: str
    id: str
    description: NotRequired[str | None]


class Version(TypedDict):
    playbook_id: str
    version: str
    state: Literal["published", "verified", "canary", "active", "revoked", "tampered"]
    digest: str
    tag: str
    commit: str
    published_by: str
    published_at: str
    percent: float | None
    manifest: Json | None
    title: str
    notes: str | None
    evidence: list[Json]
    reason: str | None
    tampered: str | None
    via: Literal["api", "git"]
    files: dict[str, str] | None
    n: int
