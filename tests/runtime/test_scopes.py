"""Scopes at work: what is out of sight is not offered and is refused, what is out of reach is not used."""

from __future__ import annotations

import pytest

from kheish.auth.broker import Broker
from kheish.auth.vault import Slot, Vault
from kheish.domain import approvals
from kheish.domain.events import Scope
from kheish.domain.runs import Status
from kheish.domain.sessions import session as sessions
from kheish.errors import OutOfScope
from kheish.runtime import deciding, prompt
from tests.runtime.harness import Live, call

READS = {"allow": ["read_*", "grep_search"], "deny": []}
NO_GREP = {"persona_id": "shy", "capability_scope": {"allow": None, "deny": ["grep_*"]}, "body": "Be shy."}


async def test_what_is_hidden_is_not_offered_and_is_denied_when_it_is_called(it: Live) -> None:
    it.session("t", workspace=it.workspace, capability_scope=READS, persona=NO_GREP)
    it.allow("*")
    it.script(call("bash", command="touch x"), call("grep_search", pattern="x"), call("bsh"), {"text": "so be it"})
    run = await it.ask(session_id="t")
    assert run.status is Status.COMPLETED and not (it.workspace / "x").exists()
    assert set(deciding.offered(run, it.agent)) == {"read_file"}
    sections = {part.name: part.text for part in await prompt.sections(it.state, run, deciding.offered(run, it.agent))}
    assert sections["Tools"] == "You have: read_file."
    decided = [(one["tool"], one["decision"], one["origin"]) for one in it.data("permission.decided")]
    assert decided == [
        ("bash", "deny", "session, capability scope"),
        ("grep_search", "deny", "persona shy, capability scope"),
    ]
    assert "bash" not in it.results()[2][2], "an unknown tool is not answered with the names of hidden ones"


async def test_an_empty_scope_leaves_the_agent_no_tool(it: Live) -> None:
    it.session("t", workspace=it.workspace, capability_scope={"allow": [], "deny": []})
    it.script(call("read_file", path="a"), {"text": "so be it"})
    run = await it.ask(session_id="t")
    assert deciding.offered(run, it.agent) == {}
    assert [code for _, code, _ in it.results()] == ["permission_denied"]


async def test_a_check_of_the_daemon_is_not_the_agents_own_call(it: Live) -> None:
    it.session("t", workspace=it.workspace, capability_scope=READS)
    it.script({"text": "done"})
    run = await it.ask(session_id="t", completion=({"command": "true"},))
    assert run.status is Status.COMPLETED


async def test_a_fallback_out_of_scope_is_passed_over(it: Live) -> None:
    it.session("t", workspace=it.workspace, credential_scope={"allow": None, "deny": ["cloud"]})
    for name in ("cloud", "spare"):
        it.script({"text": f"from {name}"}, route=name)
    it.script({"error": {"status": 500}}, {"text": "never"}, fallbacks=["cloud", "spare"], max_retries=0)
    run = await it.ask(session_id="t", route="local")
    assert (run.status, run.output) == (Status.COMPLETED, "from spare")
    assert "cloud" not in [one["route"] for one in it.data("model.requested")]


async def test_a_session_that_was_narrowed_meanwhile_holds_a_parked_run_back(it: Live) -> None:
    it.session("t", workspace=it.workspace, while_waiting="park")
    it.script(call("bash", command="true"), {"text": "done"})
    run = await it.ask(session_id="t")
    assert run.status is Status.WAITING_FOR_APPROVAL
    sessions.update(it.state, "t", {"credential_scope": {"allow": [], "deny": []}}, by="me")
    approvals.resolve(it.state, run.pending_approvals[0], "allow", by="me", via="api")
    ended = await it.rest(run.run_id)
    assert ended.status is Status.FAILED and ended.error is not None
    assert (ended.error.code, ended.error.retryable) == ("out_of_scope", False)
    assert "route 'local'" in ended.error.message and "session, credential scope" in ended.error.message
    assert len(it.data("model.requested")) == 1, "no model is asked, and no audit says that one was"


async def test_no_lease_is_given_for_what_is_out_of_scope(it: Live) -> None:
    vault = Vault()
    vault.slots["openai.prod"] = Slot(
        slot="openai.prod", version=1, digest="d", created_at="", value_at="", updated_by="me", value="sk-1"
    )
    broker = Broker(it.state, vault, {})
    narrow = (Scope(origin="session, credential scope", deny=("openai.*",)),)
    with pytest.raises(OutOfScope):
        async with broker.lease(["session:s"], "openai.prod", "route:main", scope=narrow):
            pass
    async with broker.lease(["session:s"], "openai.prod", "route:main", scope=()) as lease:
        assert lease.value == "sk-1"
    [told] = it.data("audit.recorded")
    assert (told["action"], told["outcome"], told["session"]) == ("access", "refused", "s")
    assert told["target"] == "lease: route:main, openai.prod: out_of_scope"
