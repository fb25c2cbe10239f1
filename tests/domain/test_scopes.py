"""Scopes only take away: put together in any way, they leave no more than each of them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from kheish.domain import intake, scopes
from kheish.domain.events import Scope
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.sessions import session as sessions
from kheish.errors import OutOfScope, SessionNotIdle
from tests.support.stateful import Played

NAMES = st.sampled_from(["bash", "read_file", "write_file", "mcp__github__search", "main", "route:main", "env:KEY"])
GLOBS = st.lists(st.sampled_from(["bash", "*", "read_*", "mcp__*", "*_file", "[rw]*", "route:*", "main"]), max_size=3)
LISTS = GLOBS.map(tuple)
SCOPES = st.builds(Scope, origin=st.sampled_from(["a", "b"]), allow=st.none() | LISTS, deny=LISTS)
ALL = st.lists(SCOPES, max_size=3).map(tuple)


def leaves(found: scopes.Scopes, name: str) -> bool:
    return all(scopes.fault(one, name) is None for one in found)


@given(ALL, ALL, NAMES)
def test_an_intersection_leaves_what_both_leave_and_nothing_more(a: Any, b: Any, name: str) -> None:
    both = leaves(scopes.intersection(a, b), name)
    assert both == (leaves(a, name) and leaves(b, name)) == leaves(scopes.intersection(b, a), name)
    assert leaves(scopes.intersection(a, a), name) == leaves(a, name)


@given(ALL, ALL, ALL)
def test_it_does_not_matter_in_which_order_they_are_put_together(a: Any, b: Any, c: Any) -> None:
    left = scopes.intersection(scopes.intersection(a, b), c)
    assert left == scopes.intersection(a, scopes.intersection(b, c)) == scopes.intersection(a, b, c)


@given(SCOPES, NAMES)
def test_deny_wins_and_an_allow_list_leaves_only_what_it_names(one: Scope, name: str) -> None:
    denied = any(fnmatchcase(name, glob) for glob in one.deny)
    allowed = one.allow is None or any(fnmatchcase(name, glob) for glob in one.allow)
    assert leaves((one,), name) == (allowed and not denied)


@given(NAMES)
def test_no_scope_and_no_list_are_no_limit_and_an_empty_list_leaves_nothing(name: str) -> None:
    assert leaves((), name) and leaves((Scope(origin="a"),), name)
    assert scopes.fault(Scope(origin="a", allow=()), name) == "allows only nothing at all"
    apart = scopes.intersection([Scope(origin="a", allow=("read_*",))], [Scope(origin="b", allow=("bash",))])
    assert not leaves(apart, name), "two that have nothing in common leave nothing"


@pytest.mark.parametrize(
    ("allow", "deny", "left"),
    [
        (None, [], True),
        ([], [], False),
        (["main"], [], True),
        (["route:main"], [], True),
        (["connector:*"], [], False),
        (["openai.*"], [], True),  # by the slot that it uses
        (["main"], ["openai.prod"], False),
        (["*"], ["route:*"], False),
        (["MAIN"], [], False),
    ],
)
def test_a_route_is_meant_by_its_name_or_by_its_slot(allow: Any, deny: Any, left: bool) -> None:
    found = (Scope(origin="session", allow=None if allow is None else tuple(allow), deny=tuple(deny)),)
    assert scopes.leaves_use(found, "route:main", "openai.prod") is left
    if not left:
        with pytest.raises(OutOfScope, match=r"route 'main' .it uses openai.prod.*session, "):
            scopes.check_use(found, "route:main", "openai.prod")


@pytest.mark.parametrize("lists", [{"allow": "bash"}, {"deny": [""]}, {"allowed": ["x"]}, {"deny": None}])
def test_a_scope_that_is_written_wrongly_is_refused(lists: Any) -> None:
    for model in (CapabilityScope, CredentialScope):
        with pytest.raises(ValidationError):
            model.model_validate(lists)


# --- sessions and runs ------------------------------------------------------------------------------------------------

READS = {"allow": ["read_*"], "deny": []}
NO_CLOUD = {"allow": None, "deny": ["cloud"]}


def test_a_run_freezes_the_scopes_of_its_session_and_its_persona(p: Played) -> None:
    persona = {"persona_id": "reviewer", "capability_scope": {"allow": None, "deny": ["bash"]}, "body": "x"}
    p.session("t", capability_scope=READS, credential_scope=NO_CLOUD, persona=persona)
    run = p.submit_run(session_id="t")
    assert run.settings.capability_scope == (
        Scope(origin="session, capability scope", allow=("read_*",)),
        Scope(origin="persona reviewer, capability scope", deny=("bash",)),
    )
    assert run.settings.credential_scope == (Scope(origin="session, credential scope", deny=("cloud",)),)
    assert p.reloaded("t").tables[type(run)][run.run_id].settings == run.settings


def test_in_a_flow_an_allow_list_need_not_name_the_tool_for_evidence(p: Played) -> None:
    p.session("t", capability_scope=READS)
    run = p.submit_run(session_id="t", flow={"flow_id": "f", "phase": None, "attempt": 1})
    assert run.settings.capability_scope[0].allow == ("read_*", "attach_evidence")


def test_a_route_out_of_scope_is_refused_before_anything_is_written(p: Played) -> None:
    p.route("cloud", driver="openai", model="m", auth_ref="env:KEY")
    p.session("t", credential_scope=NO_CLOUD)
    n = p.state.n
    with pytest.raises(OutOfScope) as refused:
        p.submit_run(session_id="t", route="cloud/other")
    assert (refused.value.status, refused.value.extra) == (403, {"scope": "session, credential scope"})
    assert p.state.n == n and p.submit_run(session_id="t", route="local")


def test_scopes_change_only_while_the_session_is_idle(p: Played) -> None:
    run = p.submit_run()
    for change in ({"capability_scope": READS}, {"credential_scope": NO_CLOUD}):
        with pytest.raises(SessionNotIdle, match=run.run_id):
            sessions.update(p.state, "s", change, by="me")


def test_a_retry_takes_the_scope_of_its_session_anew_and_keeps_that_of_its_playbook(p: Played) -> None:
    from kheish.domain import runs

    playbook = Scope(origin="playbook triage@1.0.0, credential scope", deny=("other",))
    p.session("t", credential_scope=NO_CLOUD)
    run = p.submit_run(session_id="t", credential_scope=(playbook,))
    runs.cancel(p.state, run.run_id, by="me")
    sessions.update(p.state, "t", {"credential_scope": None}, by="me")
    p.flush()
    again = intake.submit(p.state, intake.again(p.state, p.state.recalled(type(run), run.run_id) or {}, by="me"))
    assert isinstance(again, runs.Run) and again.settings.credential_scope == (playbook,)
