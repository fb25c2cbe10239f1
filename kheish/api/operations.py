"""All operations of the API: a line for each noun. The order is that of the description."""

from __future__ import annotations

from kheish.api import (
    access,
    approvals,
    audit,
    backup,
    definitions,
    goals,
    history,
    mailboxes,
    manifests,
    metrics,
    permissions,
    playbooks,
    probes,
    questions,
    runs,
    secrets,
    sessions,
    state,
    status,
    submissions,
    tasks,
    tokens,
    trust,
)
from kheish.api.agents import resource as agents
from kheish.api.flows import resource as flows
from kheish.api.http import login, openapi
from kheish.api.http.operation import Operation
from kheish.api.memory import sessions as memory
from kheish.api.schedules import resource as schedules

OPERATIONS: tuple[Operation, ...] = (
    *probes.OPERATIONS,
    *metrics.OPERATIONS,
    *openapi.operations(lambda: OPERATIONS),
    *status.OPERATIONS,
    *state.OPERATIONS,
    *backup.OPERATIONS,
    *sessions.OPERATIONS,
    *history.OPERATIONS,
    *submissions.OPERATIONS,
    *tasks.OPERATIONS,
    *goals.OPERATIONS,
    *mailboxes.OPERATIONS,
    *memory.OPERATIONS,
    *runs.OPERATIONS,
    *agents.OPERATIONS,
    *approvals.OPERATIONS,
    *questions.OPERATIONS,
    *permissions.OPERATIONS,
    *login.OPERATIONS,
    *tokens.OPERATIONS,
    *secrets.OPERATIONS,
    *access.OPERATIONS,
    *audit.OPERATIONS,
    *flows.OPERATIONS,
    *playbooks.OPERATIONS,
    *trust.OPERATIONS,
    *manifests.OPERATIONS,
    *definitions.OPERATIONS,
    *schedules.OPERATIONS,
)
