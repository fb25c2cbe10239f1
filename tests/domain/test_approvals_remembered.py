"""Answers that are remembered, and answers that take two persons."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import approvals
from kheish.domain.approvals import Approval, Bound
from kheish.domain.permissions import remember as permission_remember
from kheish.domain.runs import Status
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.errors import ApprovalResolved, Invalid, PersonRequired, SamePerson
from tests.support.stateful import Played, approval

CALL = {"command": "git status -s"}


def asked(id: str, **more: Any) -> Any:
    return approval(id, arguments=CALL, remember=permission_remember.suggested("bash", CALL), **more)


def allow(p: Played, id: str = "a", person: str | None = "ann", **more: Any) -> Approval:
    return approvals.resolve(p.state, id, "allow", by=f"token:{person}", via="api", person=person, **more)


def rules(p: Played) -> list[dict[str, Any]]:
    return list(p.state.get(Session, "s").settings["permission_rules"])


@pytest.mark.parametrize(("how", "match"), [("exact", '{"command":"git status -s"}'), ("pattern", "git status *")])
def test_a_rule_is_added_with_the_decision_in_one_group(p: Played, how: str, match: str) -> None:
    p.waiting(asked("a"))
    allow(p, remember=how)
    [rule] = rules(p)
    assert (rule["tool"], rule["match"], rule["decision"]) == ("bash", match, "allow")
    assert rule["reason"].startswith("remembered by token:ann (a): ")
    assert p.kinds()[-3:] == ["approval.resolved", "session.rule_added", "run.requeued"]
    again = p.restart()
    assert rules(again) == [rule]
    again.index.close()


def test_a_deny_may_be_remembered_too(p: Played) -> None:
    p.waiting(approval("a"))
    approvals.resolve(p.state, "a", "deny", by="token:ann", via="api", remember="pattern")
    assert [(rule["match"], rule["decision"]) for rule in rules(p)] == [("make", "deny")]


def test_what_would_have_no_effect_is_refused_and_nothing_is_decided(p: Played) -> None:
    p.waiting(approval("a"), asked("b", required=2), asked("c"))
    for id, how, arguments in (("a", "exact", None), ("b", "exact", None), ("c", "pattern", {"command": "rm x"})):
        with pytest.raises(Invalid):
            allow(p, id, remember=how, arguments=arguments)
    assert [p.state.get(Approval, id).status for id in "abc"] == ["pending"] * 3 and rules(p) == []


def test_in_a_batch_all_are_remembered_or_none(p: Played) -> None:
    p.waiting(asked("a"), asked("b"))
    wanted = [
        approvals.Resolution(approval_id="a", decision="allow", by="x", via="api", remember="pattern"),
        approvals.Resolution(
            approval_id="b", decision="allow", by="x", via="api", remember="pattern", arguments={"command": "rm a"}
        ),
    ]
    n = p.state.n
    with pytest.raises(Invalid):
        approvals.resolve_many(p.state, wanted)
    assert p.state.n == n and rules(p) == []


def test_two_different_persons_have_to_allow(p: Played) -> None:
    run = p.waiting(approval("a", required=2))
    first = allow(p, person="ann")
    assert (first.status, p.run(run.run_id).status) == ("pending", Status.WAITING_FOR_APPROVAL)
    with pytest.raises(SamePerson):
        allow(p, person="ann")
    again = p.restart()
    second = allow(again, person="bob")
    assert second.status == "allowed" and again.run(run.run_id).status is Status.QUEUED
    assert [(one.decision, one.person) for one in second.decisions] == [("allow", "ann"), ("allow", "bob")]
    with pytest.raises(ApprovalResolved):
        allow(again, person="cy")
    again.index.close()


def test_an_answer_that_proves_no_person_does_not_count_but_may_deny(p: Played) -> None:
    p.waiting(approval("a", required=2))
    with pytest.raises(PersonRequired):
        approvals.resolve(p.state, "a", "allow", by="file", via="file")
    allow(p, person="ann")
    assert approvals.resolve(p.state, "a", "deny", by="file", via="file").status == "denied"


def test_who_edits_starts_again_and_the_other_decides_about_the_edited_call(p: Played) -> None:
    run = p.waiting(approval("a", required=2))
    allow(p, person="ann")
    edited = {"command": "make staging"}
    files = ({"path": "Makefile", "sha256": "0", "bytes": 1},)
    after = allow(p, person="bob", arguments=edited, bound=Bound(digest="e" * 64, files=files))
    assert (after.status, after.digest, after.edited_by, after.files) == ("pending", "e" * 64, "token:bob", files)
    [call] = p.state.get(Turn, run.run_id).calls
    assert (call.call.arguments, call.approved_digest, call.approval) == (edited, "e" * 64, None)
    assert allow(p, person="ann").status == "allowed", "for the edited call this is ann's first word"


def test_after_the_first_of_two_it_may_still_expire(p: Played) -> None:
    p.waiting(approval("a", required=2, expires_at="2026-01-01T00:00:00.000000Z"))
    allow(p, person="ann")
    assert approvals.expire(p.state, "2026-01-01T00:00:00.000000Z") == ["a"]
    assert p.state.get(Approval, "a").status == "expired"
