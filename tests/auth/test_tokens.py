"""Tokens: whose they are, what their roles may do, and how they are kept."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from kheish.auth import digests, roles, tokens
from kheish.auth.tokens import Principal, Token, Tokens


def card(name: str = "bob", **more: object) -> Token:
    fields = {"role": "operator", "created_at": "2026-01-01T00:00:00.000000Z", "created_by": "token:local"}
    return Token(name=name, **{**fields, **more})  # type: ignore[arg-type]


def test_only_the_whole_token_is_somebodys() -> None:
    known = Tokens("kheish_abc", clock=time.time)

    found = known.principal("kheish_abc")

    assert found is not None
    assert (found.name, found.role) == ("token:local", "admin")
    for wrong in ("", "kheish_ab", "kheish_abcd", "KHEISH_ABC", "kheish_abc\n", "\udcff"):
        assert known.principal(wrong) is None


def test_the_token_itself_is_not_kept(tmp_path: Path) -> None:
    known = Tokens("kheish_abc", clock=time.time)
    known.put(card(digest="d" * 64))
    tokens.save(tmp_path, known)

    path = tmp_path / tokens.FILE
    assert "kheish_abc" not in repr(vars(known)) + repr(vars(known._known)) + path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tokens.read(tmp_path) == (card(digest="d" * 64),)


def test_an_expired_token_is_nobodys() -> None:
    now = [1_000_000.0]
    known = Tokens("local", clock=lambda: now[0])
    known.put(card(expires_at="1970-01-12T13:46:41.000000Z", digest=digests.of("kheish_x")))

    assert known.principal("kheish_x") is not None
    now[0] += 1
    assert known.principal("kheish_x") is None


MAY = {
    "operator": ["GET /v1/runs", "POST /v1/sessions", "PATCH /v1/sessions/{s}", "POST /v1/approvals/{a}/resolve",
                 "POST /v1/flows", "POST /v1/pause", "POST /v1/permissions/check", "POST /v1/routes/validate",
                 "DELETE /v1/sessions/{session_id}", "POST /v1/schedules/{id}/trigger"],
    "reader": ["GET /v1/runs", "GET /v1/events", "GET /openapi.json", "GET /metrics", "POST /v1/permissions/check"],
    "approver": ["GET /v1/approvals", "POST /v1/questions/{q}/answer", "GET /v1/status"],
    "ingress:hook": ["POST /v1/ingress/hook"],
    "observer:cam": ["POST /v1/sources/cam/observations"],
}  # fmt: skip
MAY_NOT = {
    "operator": ["PUT /v1/routes/{id}", "DELETE /v1/routes/{id}", "GET /v1/tokens", "GET /v1/secrets",
                 "POST /v1/tokens",
                 "PUT /v1/secrets/{slot}", "POST /v1/auth/revoke", "POST /v1/state/gc", "PUT /v1/schedules/{id}",
                 "DELETE /v1/projects/{id}", "POST /v1/playbooks/{id}/versions"],
    "reader": ["POST /v1/sessions", "POST /v1/pause", "GET /v1/tokens", "GET /v1/auth/leases"],
    "approver": ["GET /v1/runs", "GET /v1/events", "POST /v1/sessions/{s}/runs", "POST /v1/status"],
    "ingress:hook": ["POST /v1/ingress/other", "GET /v1/runs", "POST /v1/sessions"],
    "observer:cam": ["POST /v1/sources/door/observations", "GET /v1/sources/cam"],
    "unknown": ["GET /v1/status"],
}  # fmt: skip


@pytest.mark.parametrize(("role", "call"), [(role, call) for role, calls in MAY.items() for call in calls])
def test_what_a_role_may(role: str, call: str) -> None:
    assert roles.refusal(Principal("token:x", role), *call.split()) is None


@pytest.mark.parametrize(("role", "call"), [(role, call) for role, calls in MAY_NOT.items() for call in calls])
def test_what_a_role_may_not(role: str, call: str) -> None:
    assert roles.refusal(Principal("token:x", role), *call.split()) is not None
    assert roles.refusal(Principal("token:x", "admin"), *call.split()) is None
