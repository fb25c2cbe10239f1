"""Tool policies of a run: what a Playbook takes away is not offered, and is refused at the call."""

from __future__ import annotations

from kheish.domain import intake, runs
from kheish.domain.events import ToolPolicy
from kheish.domain.permissions.rules import PermissionsFile
from kheish.domain.runs import Run, Status
from kheish.runtime import deciding, prompt
from tests.runtime.harness import Live, call

READS = ToolPolicy(origin="playbook triage@1.0.0", allow=("read_*", "grep_search"))
NO_GREP = ToolPolicy(origin="playbook triage@1.0.0, phase look", deny=("grep_search",))


async def test_a_call_that_a_policy_takes_away_is_refused_and_says_whose_it_is(it: Live) -> None:
    it.state.definitions.permissions = PermissionsFile.model_validate({"rules": [{"tool": "*", "decision": "allow"}]})
    it.script(call("write_file", path="a", content="b"), call("grep_search", pattern="x"), {"text": "so be it"})
    run = await it.ask(tool_policies=(READS, NO_GREP))
    assert run.status is Status.COMPLETED and not (it.workspace / "a").exists()
    decided = [(one["decision"], one["origin"]) for one in it.data("permission.decided")]
    assert decided == [("deny", READS.origin), ("deny", NO_GREP.origin)]
    assert [code for _, code, _ in it.results()] == ["permission_denied"] * 2
    assert "allows only read_*, grep_search" in it.results()[0][2]


async def test_tools_that_no_rule_could_allow_are_not_offered(it: Live) -> None:
    run = it.submit_run(tool_policies=(READS, NO_GREP))
    offered = deciding.offered(run, it.agent)
    assert set(offered) == {"read_file"}
    sections = {part.name: part.text for part in await prompt.sections(it.state, run, offered)}
    assert sections["Tools"] == "You have: read_file."


async def test_a_policy_gives_nothing(it: Live) -> None:
    it.script(call("write_file", path="a", content="b"), {"text": "done"})
    run = await it.ask(tool_policies=(ToolPolicy(origin="playbook", allow=("*",)),))
    assert run.status is Status.WAITING_FOR_APPROVAL


async def test_a_policy_outlives_a_restart_and_a_retry(it: Live) -> None:
    run = it.submit_run(tool_policies=(READS, NO_GREP))
    again = it.reborn()
    try:
        assert again.run_of(run.run_id).settings.tool_policies == (READS, NO_GREP)
        runs.cancel(again.state, run.run_id, by="me")
        doc = again.state.recalled(Run, run.run_id)
        assert doc is not None
        assert intake.again(again.state, doc, by="me").tool_policies == (READS, NO_GREP)
    finally:
        await again.close()
