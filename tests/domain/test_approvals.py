"""Approvals: the first valid answer wins, and a late one hears who decided."""

from __future__ import annotations

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.domain.turns import Turn
from kheish.errors import ApprovalResolved, Invalid, NotFound
from tests.support.stateful import Played, approval


def test_allowing_puts_the_run_back_in_its_queue(p: Played) -> None:
    run = p.waiting(approval("a"))
    found = approvals.resolve(p.state, "a", "allow", by="token:ann", via="api", reason="fine")
    assert found.status == "allowed"
    decision = found.decisions[0]
    assert (decision.decision, decision.by, decision.via, decision.reason) == ("allow", "token:ann", "api", "fine")
    assert p.run(run.run_id).status is Status.QUEUED
    assert p.run(run.run_id).pending_approvals == ()
    assert p.kinds()[-2:] == ["approval.resolved", "run.requeued"]
    assert len(p.lines) == p.state.n


def test_the_run_goes_on_when_all_are_decided(p: Played) -> None:
    run = p.waiting(approval("a"), approval("b"))
    approvals.resolve(p.state, "a", "allow", by="me", via="api")
    assert p.run(run.run_id).status is Status.WAITING_FOR_APPROVAL
    approvals.resolve(p.state, "b", "deny", by="me", via="api", reason="no")
    assert p.run(run.run_id).status is Status.QUEUED
    calls = p.state.get(Turn, run.run_id).calls
    assert [(call.approval, call.reason) for call in calls] == [("allowed", None), ("denied", "no")]


@pytest.mark.parametrize("second", ["allow", "deny"])
def test_a_late_answer_hears_who_decided(p: Played, second: str) -> None:
    p.waiting(approval("a"))
    approvals.resolve(p.state, "a", "deny", by="token:ann", via="file")
    n = p.state.n
    with pytest.raises(ApprovalResolved) as late:
        approvals.resolve(p.state, "a", second, by="token:bob", via="api")  # type: ignore[arg-type]
    assert late.value.extra == {"decided_by": "token:ann", "approval_status": "denied"}
    assert p.state.n == n and p.state.get(Approval, "a").status == "denied"


def test_an_expired_approval_is_denied_by_the_daemon(p: Played) -> None:
    run = p.waiting(approval("a", expires_at="2026-01-01T00:00:00.000000Z"), approval("b"))
    assert approvals.expire(p.state, "2025-12-31T23:59:59.999999Z") == []
    assert approvals.expire(p.state, "2026-01-01T00:00:00.000000Z") == ["a"]
    assert approvals.expire(p.state, "2027-01-01T00:00:00.000000Z") == []
    assert p.state.get(Approval, "a").status == "expired"
    assert p.run(run.run_id).pending_approvals == ("b",)
    with pytest.raises(ApprovalResolved) as late:
        approvals.resolve(p.state, "a", "allow", by="me", via="api")
    assert late.value.extra["decided_by"] == "daemon"


def test_edited_arguments_make_a_new_digest_and_name_the_editor(p: Played) -> None:
    run = p.waiting(approval("a"))
    edited = {"command": "make test"}
    digest = approvals.digest_of(tool="bash", arguments=edited, folder="", executable=None)
    found = approvals.resolve(
        p.state, "a", "allow", by="ann", via="api", arguments=edited, bound=approvals.Bound(digest=digest)
    )
    assert (found.arguments, found.digest, found.edited_by) == (edited, digest, "ann")
    call = p.state.get(Turn, run.run_id).calls[0]
    assert (call.call.arguments, call.approved_digest) == (edited, digest)


def test_edited_arguments_do_not_go_with_a_denial(p: Played) -> None:
    p.waiting(approval("a"))
    with pytest.raises(Invalid):
        approvals.resolve(p.state, "a", "deny", by="me", via="api", arguments={})
    assert p.state.get(Approval, "a").status == "pending"


def test_an_unknown_approval_is_not_found(p: Played) -> None:
    with pytest.raises(NotFound):
        approvals.resolve(p.state, "nope", "allow", by="me", via="api")


def test_the_digest_covers_tool_arguments_folder_and_program() -> None:
    base = {"tool": "bash", "arguments": {"a": 1, "b": 2}, "folder": "/w", "executable": "/bin/make"}
    digest = approvals.digest_of(**base)  # type: ignore[arg-type]
    assert approvals.digest_of(**{**base, "arguments": {"b": 2, "a": 1}}) == digest  # type: ignore[arg-type]
    others = ({"tool": "x"}, {"arguments": {"a": 1}}, {"folder": "/v"}, {"executable": None})
    assert all(approvals.digest_of(**{**base, **other}) != digest for other in others)  # type: ignore[arg-type]
