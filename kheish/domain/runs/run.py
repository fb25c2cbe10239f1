"""The value of a run, and how the API and its Record show it (`shapes.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from kheish.domain import completion, spent
from kheish.domain.debug import Level
from kheish.domain.events import (
    Artifact,
    Entry,
    Limits,
    Request,
    RunError,
    RunSettings,
    Scope,
    Text,
    ToolPolicy,
    frozen,
)
from kheish.domain.runs.lifecycle import FINAL, WAITING, Status
from kheish.domain.shown import View
from kheish.domain.spent import NOTHING, Spent, SpentTree
from kheish.domain.waiting import LostWorker, McpCall, WaitingOn, WaitsFor


@frozen
class Output(View):
    """An output that the run emitted before its end."""

    shown_as = "RunOutput"
    output_id: str
    kind: str
    content: Text
    artifacts: tuple[Artifact, ...] = ()
    """The files that were sent with it."""


@frozen
class PlacedWorkspace:
    """The copy of a run's workspace on its worker."""

    worker: str
    folder: str


@frozen
class Run:
    """A run as recorded in the journal. `active_seconds` is the time in `running` until `running_since`."""

    run_id: str
    session_id: str
    agent_id: str
    kind: str
    status: Status
    submitted_at: str
    made: int
    n: int
    request: Request
    settings: RunSettings
    started_at: str | None = None
    finished_at: str | None = None
    retry_of: str | None = None
    flow: dict[str, Any] | None = None
    phase_text: Text | None = None
    mode: str = "default"  # the current permission mode: the one of its settings, or plan mode
    pending_approvals: tuple[str, ...] = ()
    pending_questions: tuple[str, ...] = ()
    waits_for: WaitsFor | None = None
    waiting_since: str | None = None  # of its last status `waiting_…`
    mcp_calls: tuple[McpCall, ...] = ()  # the open ones
    placed: PlacedWorkspace | None = None  # its workspace on its worker, if that is a copy
    lost_worker: LostWorker | None = None  # which an open call waits for
    usage: Spent = Spent()
    output: Text | None = None
    outputs: tuple[Output, ...] = ()
    error: RunError | None = None
    running_since: str | None = None
    active_seconds: float = 0.0
    stop_requested: str | None = None  # cancelled | interrupted
    granted: dict[str, float] = field(default_factory=dict)  # grants by users beyond the limits
    grant_asked: dict[str, Any] | None = None  # {approval_id, limit, more} of the newest budget question
    grant_refused: str | None = None  # the limit that users refused to raise
    submitted_by: str = ""  # the token's name; `request.actor` is the caller's own
    spawned: int = 0  # agents that it spawned
    children: frozenset[str] = frozenset()  # those of them that have not settled
    below: Spent = NOTHING  # the usage of those that have settled
    project: str | None = None  # the project that it works for: its cost counts there

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def worker(self) -> str | None:
        """The worker that its tools run on; None: here."""
        return self.settings.worker

    @property
    def workspace(self) -> str:
        """The folder in which its tools act, on the machine where they run."""
        return self.placed.folder if self.placed is not None else self.settings.workspace


@frozen
class RunSettingsView(View):
    """The settings of a run, frozen when it was accepted."""

    permission_mode: str
    workspace: str
    generation: dict[str, Any]
    limits: Limits
    output_contract: dict[str, Any] | None
    completion: tuple[str | dict[str, Any], ...]
    checks_ask: bool
    """Whether the commands of `completion` are subject to the rules like the agent's own commands: they came from a
    file.
    """
    tool_policies: tuple[ToolPolicy, ...]
    capability_scope: tuple[Scope, ...]
    """The tools, skills and MCP servers that the agent sees; all of the restrictions apply."""
    credential_scope: tuple[Scope, ...]
    """The routes, connectors and accounts in use; all of the restrictions apply."""
    persona: dict[str, Any] | None
    unattended: Literal["ask", "deny"]
    """`deny`: what would ask a person is denied instead (a schedule's setting)."""
    phase_text: Text | None
    skills: tuple[str, ...] = ()
    """The skills that the run began with, as the caller asked."""
    reply_targets: tuple[dict[str, Any], ...] = ()
    """The targets of its outputs: the request's, else the session's."""
    debug: Level | None = None
    """The level of debug capture of this run; null: as its session has it."""


@frozen
class RunView(View):
    """A run."""

    run_id: str
    session_id: str
    agent_id: str
    kind: str
    status: Status
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    queue_position: int | None
    """Position in the queue, from 1; null if the run does not wait for its session."""
    n: int
    """The newest event of the run."""
    retry_of: str | None
    request: Request
    route: str
    model: str | None
    mode: str
    settings: RunSettingsView
    pending_approvals: tuple[str, ...]
    pending_questions: tuple[str, ...]
    waits_for: WaitsFor | None
    """The model server that it waits for."""
    waiting_on: WaitingOn | None
    usage: SpentTree
    output: Text | None
    """The final text."""
    outputs: tuple[Output, ...]
    error: RunError | None
    flow: dict[str, Any] | None
    project: str | None = None
    """The project that it works for."""


@frozen
class StoppedWorkView(View):
    """The work that a stop ended as well, the innermost first."""

    agents: tuple[str, ...]
    runs: tuple[str, ...]
    tasks: tuple[str, ...]
    """Background commands."""


@frozen
class CancelledRunView(RunView):
    """A run after its cancellation."""

    stopped: StoppedWorkView
    """The work that the cancellation ended as well."""


def view(run: Run) -> RunView:
    """Return the run as the API and its Record show it. Its position in the queue changes without an event of its own,
    so that the API adds it."""
    settings = run.settings
    return RunView(
        run_id=run.run_id,
        session_id=run.session_id,
        agent_id=run.agent_id,
        kind=run.kind,
        status=run.status,
        submitted_at=run.submitted_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        queue_position=None,
        n=run.n,
        retry_of=run.retry_of,
        request=run.request,
        route=settings.route,
        model=settings.model,
        mode=run.mode,
        settings=RunSettingsView(
            permission_mode=settings.permission_mode,
            workspace=settings.workspace,
            generation=settings.generation,
            limits=settings.limits,
            output_contract=settings.output_contract,
            completion=tuple(completion.written(one) for one in settings.completion),
            checks_ask=settings.checks_ask,
            tool_policies=settings.tool_policies,
            capability_scope=settings.capability_scope,
            credential_scope=settings.credential_scope,
            persona=settings.persona if settings.own_persona else None,
            unattended=settings.unattended,
            phase_text=run.phase_text,
            skills=settings.skills,
            reply_targets=settings.reply_targets,
            debug=settings.debug,
        ),
        pending_approvals=run.pending_approvals,
        pending_questions=run.pending_questions,
        waits_for=run.waits_for,
        waiting_on=_waiting_on(run),
        usage=spent.tree(run.usage, run.below),
        output=run.output,
        outputs=run.outputs,
        error=run.error,
        flow=run.flow,
        project=run.project,
    )


def _waiting_on(run: Run) -> WaitingOn | None:
    if run.status in WAITING:
        since = run.waiting_since or run.submitted_at
        if run.status == Status.WAITING_FOR_AGENT:
            return WaitingOn(kind="agent", what=", ".join(sorted(run.children)), since=since)
        if run.status == Status.WAITING_FOR_QUESTION:
            return WaitingOn(kind="question", what=", ".join(run.pending_questions), since=since)
        return WaitingOn(kind="approval", what=", ".join(run.pending_approvals), since=since)
    if run.status != Status.RUNNING:
        return None
    if run.waits_for is not None:
        return WaitingOn(kind="model", what=run.waits_for.route, since=run.waits_for.since)
    if run.lost_worker is not None:
        return WaitingOn(kind="worker", what=run.lost_worker.worker, since=run.lost_worker.since)
    if run.mcp_calls:
        return WaitingOn(kind="mcp", what=run.mcp_calls[0].tool, since=run.mcp_calls[0].since)
    return None


def is_unattended(runs: Mapping[str, Run], entry: Entry) -> bool:
    """Return whether no person attends the run of an entry, so that none attends what follows from the entry."""
    run = runs.get(entry.run) if entry.run is not None else None
    return run is not None and run.settings.unattended == "deny"
