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
    permissions,
    playbooks,
    probes,
    questions,
    runs,
    runtime,
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
from kheish.api.assets import resource as assets
from kheish.api.channels import resource as channels
from kheish.api.connectors import ingress, resource as connectors
from kheish.api.debug import resource as debug
from kheish.api.flows import resource as flows
from kheish.api.hooks import resource as hooks
from kheish.api.http import login, openapi
from kheish.api.http.operation import Operation
from kheish.api.mcp import logins as mcp_logins, resource as mcp
from kheish.api.memory import sessions as memory
from kheish.api.metrics import resource as metrics
from kheish.api.observations import resource as observations
from kheish.api.outputs import deliveries, resource as outputs
from kheish.api.projects import resource as projects
from kheish.api.routes import testing as routes
from kheish.api.schedules import resource as schedules
from kheish.api.settings import resource as settings
from kheish.api.skills import resource as skills
from kheish.api.stacks import resource as stacks
from kheish.api.workers import resource as workers

OPERATIONS: tuple[Operation, ...] = (
    *probes.OPERATIONS,
    *metrics.OPERATIONS,
    *openapi.operations(lambda: OPERATIONS),
    *status.OPERATIONS,
    *settings.OPERATIONS,
    *runtime.OPERATIONS,
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
    *debug.OPERATIONS,
    *agents.OPERATIONS,
    *approvals.OPERATIONS,
    *questions.OPERATIONS,
    *permissions.OPERATIONS,
    *login.OPERATIONS,
    *tokens.OPERATIONS,
    *secrets.OPERATIONS,
    *access.OPERATIONS,
    *mcp_logins.OPERATIONS,
    *audit.OPERATIONS,
    *flows.OPERATIONS,
    *playbooks.OPERATIONS,
    *trust.OPERATIONS,
    *manifests.OPERATIONS,
    *definitions.OPERATIONS,
    *stacks.OPERATIONS,
    *routes.OPERATIONS,
    *schedules.OPERATIONS,
    *mcp.OPERATIONS,
    *hooks.OPERATIONS,
    *outputs.OPERATIONS,
    *workers.OPERATIONS,
    *deliveries.OPERATIONS,
    *projects.OPERATIONS,
    *channels.OPERATIONS,
    *assets.OPERATIONS,
    *observations.OPERATIONS,
    *skills.OPERATIONS,
    *connectors.OPERATIONS,
    *ingress.OPERATIONS,
)
#: the nouns that this version has
FEATURES = tuple(sorted({one.tag for one in OPERATIONS}))
