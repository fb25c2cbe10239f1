"""The whole API on one screen: which path is answered by which resource."""

from __future__ import annotations

import sqlite3
from typing import Any

import falcon
import falcon.asgi
from falcon.asgi import Request, Response

from kheish.api.access import Access
from kheish.api.approvals import Approvals
from kheish.api.audit import Audit
from kheish.api.backup import Backup
from kheish.api.changes import Changes
from kheish.api.definitions import Definitions
from kheish.api.flows import Flows
from kheish.api.history import History
from kheish.api.http import errors
from kheish.api.http.authentication import Authentication
from kheish.api.http.feed import Feed
from kheish.api.http.login import Login
from kheish.api.http.openapi import Description
from kheish.api.http.sse import RECEIVE
from kheish.api.http.waiting import Waits
from kheish.api.metrics import Metrics
from kheish.api.operations import OPERATIONS
from kheish.api.permissions import Permissions
from kheish.api.playbooks import Playbooks
from kheish.api.questions import Questions
from kheish.api.report.resource import FlowReport
from kheish.api.runs import Runs
from kheish.api.secrets import Secrets
from kheish.api.services import Services
from kheish.api.sessions import Sessions
from kheish.api.state import StateRoot
from kheish.api.status import Daemon, Probes
from kheish.api.tokens import TokensResource
from kheish.api.trust import Trusting
from kheish.domain.definitions import KINDS
from kheish.errors import KheishError

Route = tuple[str, object, str | None]


class App(falcon.asgi.App[Request, Response]):
    """Falcon's, with one addition: a stream can hear that its client is gone."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override,unused-ignore]
        if scope["type"] == "http":
            scope[RECEIVE] = receive
        await super().__call__(scope, receive, send)


def build(parts: Services) -> App:
    """The application over `parts`."""
    gate = Authentication(parts, {(operation.method, operation.path): operation.query for operation in OPERATIONS})
    app = App(middleware=[gate])
    app.req_options.strip_url_path_trailing_slash = True
    app.add_error_handler(Exception, errors.on_defect)
    app.add_error_handler(sqlite3.Error, errors.on_index_error)
    app.add_error_handler(falcon.HTTPError, errors.on_http_error)
    app.add_error_handler(KheishError, errors.on_kheish_error)
    for path, resource, suffix in routes(parts, gate):
        app.add_route(path, resource, suffix=suffix)
    return app


def routes(parts: Services, gate: Authentication) -> list[Route]:
    """Every path, its resource, and the suffix of the resource's methods for it."""
    feed, waits = Feed(parts.bus), Waits(parts)
    probes, daemon, root = Probes(parts), Daemon(parts, feed), StateRoot(parts)
    description, permissions = Description(), Permissions(parts)
    sessions, runs = Sessions(parts, feed, waits), Runs(parts, feed, waits)
    history = History(parts)
    approvals, questions = Approvals(parts), Questions(parts)
    return [
        ("/healthz", probes, "health"),
        ("/readyz", probes, "ready"),
        ("/metrics", Metrics(parts, gate, feed), None),
        ("/openapi.json", description, None),
        ("/docs", description, "docs"),
        ("/v1/status", daemon, "status"),
        ("/v1/problems", daemon, "problems"),
        ("/v1/config", daemon, "config"),
        ("/v1/usage", daemon, "usage"),
        ("/v1/logs", daemon, "logs"),
        ("/v1/events", daemon, "events"),
        ("/v1/pause", daemon, "pause"),
        ("/v1/resume", daemon, "resume"),
        ("/v1/state/log", root, "log"),
        ("/v1/state/blame", root, "blame"),
        ("/v1/state/head", root, "head"),
        ("/v1/state/put-back", root, "put_back"),
        ("/v1/state/accept-rewind", root, "accept_rewind"),
        ("/v1/state/gc", root, "gc"),
        ("/v1/state/reindex", root, "reindex"),
        ("/v1/state/backup", Backup(parts), None),
        *_sessions(sessions, history),
        ("/v1/sessions/{session_id}/changes", Changes(parts), None),
        ("/v1/runs", runs, None),
        ("/v1/runs/cancel", runs, "cancel_many"),
        ("/v1/runs/{run_id}", runs, "one"),
        ("/v1/runs/{run_id}/events", runs, "events"),
        ("/v1/runs/{run_id}/cancel", runs, "cancel"),
        ("/v1/runs/{run_id}/retry", runs, "retry"),
        ("/v1/approvals", approvals, None),
        ("/v1/approvals/resolve", approvals, "resolve_many"),
        ("/v1/approvals/{approval_id}", approvals, "one"),
        ("/v1/approvals/{approval_id}/resolve", approvals, "resolve"),
        ("/v1/questions", questions, None),
        ("/v1/questions/{question_id}", questions, "one"),
        ("/v1/questions/{question_id}/answer", questions, "answer"),
        ("/v1/questions/{question_id}/decline", questions, "decline"),
        *_flows(Flows(parts, feed), FlowReport(parts)),
        ("/v1/permissions", permissions, None),
        ("/v1/permissions/check", permissions, "check"),
        *_login(Login(parts, gate)),
        *_auth(parts),
        *_playbooks(Playbooks(parts), Trusting(parts)),
        *(route for kind in KINDS.values() for route in _definitions(Definitions(parts, kind), kind.name)),
    ]


def _sessions(sessions: Sessions, history: History) -> list[Route]:
    return [
        ("/v1/sessions", sessions, None),
        ("/v1/sessions/{session_id}", sessions, "one"),
        ("/v1/sessions/{session_id}/history", history, "history"),
        ("/v1/sessions/{session_id}/diff", history, "diff"),
        ("/v1/sessions/{session_id}/search", history, "search"),
        ("/v1/sessions/{session_id}/fork", history, "fork"),
        ("/v1/sessions/{session_id}/end", sessions, "end"),
        ("/v1/sessions/{session_id}/interrupt", sessions, "interrupt"),
        ("/v1/sessions/{session_id}/journal", sessions, "journal"),
        ("/v1/sessions/{session_id}/events", sessions, "events"),
        ("/v1/sessions/{session_id}/runs", sessions, "runs"),
        ("/v1/sessions/{session_id}/tasks", sessions, "tasks"),
    ]


def _login(login: Login) -> list[Route]:
    return [
        ("/login", login, "page"),
        ("/v1/auth/login", login, None),
        ("/v1/auth/login-links", login, "links"),
    ]


def _auth(parts: Services) -> list[Route]:
    secrets, access, tokens = Secrets(parts), Access(parts), TokensResource(parts)
    audit = Audit(parts)
    return [
        ("/v1/tokens", tokens, None),
        ("/v1/tokens/{name}", tokens, "one"),
        ("/v1/secrets", secrets, None),
        ("/v1/secrets/rekey", secrets, "rekey"),
        ("/v1/secrets/{slot}", secrets, "one"),
        ("/v1/secrets/{slot}/revealed", secrets, "revealed"),
        ("/v1/audit", audit, None),
        ("/v1/audit/verify", audit, "verify"),
        ("/v1/auth/accounts", access, "accounts"),
        ("/v1/auth/grants", access, "grants"),
        ("/v1/auth/leases", access, "leases"),
        ("/v1/auth/leases/{lease}/revoke", access, "revoke_lease"),
        ("/v1/auth/subjects/{subject}", access, "subject"),
        ("/v1/auth/subjects/{subject}/revoke", access, "revoke_subject"),
        ("/v1/auth/revoke", access, "revoke"),
        ("/v1/auth/restore", access, "restore"),
    ]


def _playbooks(resource: Playbooks, trusting: Trusting) -> list[Route]:
    one = "/v1/playbooks/{id}"
    return [
        ("/v1/trust", trusting, None),
        ("/v1/trust/{name}", trusting, "one"),
        (f"{one}/versions", resource, None),
        (f"{one}/versions/{{version}}", resource, "one"),
        (f"{one}/versions/{{version}}/release", resource, "release"),
        (f"{one}/diff", resource, "diff"),
        (f"{one}/blame", resource, "blame"),
    ]


def _flows(flows: Flows, report: FlowReport) -> list[Route]:
    one = "/v1/flows/{flow_id}"
    return [
        ("/v1/flows", flows, None),
        (one, flows, "one"),
        (f"{one}/events", flows, "events"),
        (f"{one}/report", report, None),
        (f"{one}/cancel", flows, "cancel"),
        (f"{one}/evidence", flows, "evidence"),
    ]


def _definitions(resource: Definitions, kind: str) -> list[Route]:
    return [
        (f"/v1/{kind}", resource, None),
        (f"/v1/{kind}/validate", resource, "validate"),
        (f"/v1/{kind}/{{id}}", resource, "one"),
        (f"/v1/{kind}/{{id}}/history", resource, "history"),
    ]
