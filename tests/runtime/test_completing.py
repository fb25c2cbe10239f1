"""What must be so before a run counts as completed: looked at, told to the model, and after two reminders a failure."""

from __future__ import annotations

from typing import Any

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.runtime import prompt
from tests.runtime.harness import Live, call

TEXT = {"text": "done"}


def pending(it: Live) -> list[Approval]:
    return [one for one in it.state.loaded(Approval) if one.status == "pending"]


def reminders(it: Live) -> list[str]:
    return [one["text"] for one in it.data("run.nudged") if one["reason"] == "completion"]


def findings(it: Live) -> list[list[bool | None]]:
    return [[one["met"] for one in checked["findings"]] for checked in it.data("completion.checked")]


async def test_what_is_missing_is_told_and_mended(it: Live) -> None:
    it.allow("write_file")
    it.script(TEXT, call("write_file", path="report.md", content="all well"), TEXT)
    run = await it.ask(completion=({"workspace_file": "report.md"}, "the report is short"))
    assert run.status is Status.COMPLETED
    assert findings(it) == [[False, None], [True, None]]
    assert "1. the workspace has the file report.md" in reminders(it)[0]


async def test_two_reminders_and_then_the_run_fails(it: Live) -> None:
    it.script(TEXT)
    run = await it.ask(completion=({"workspace_file": "report.md"}, {"output_matches": {"const": 1}}))
    assert run.status is Status.FAILED and run.error is not None
    assert run.error.code == "completion_unsatisfied" and "report.md" in run.error.message
    assert len(reminders(it)) == 2
    assert it.kinds(run.run_id).count("model.requested") == 3


async def test_commands_are_jobs_that_the_conversation_does_not_show(it: Live) -> None:
    it.allow("write_file")
    it.script(TEXT, call("write_file", path="a", content="x\n"), TEXT)
    run = await it.ask(completion=({"command": "grep -c x a"},))
    assert run.status is Status.COMPLETED
    [refused, passed] = [one for one in it.data("tool.finished") if one["call_id"].startswith("check:")]
    assert (refused["detail"]["exit_status"], passed["detail"]["exit_status"]) == (2, 0)
    assert "No such file" in reminders(it)[0]
    assert run.usage.tool_calls == 1, "a check is not the agent's"
    shown = [one.message.role for one in await prompt.conversation(it.state, run, "here")]
    assert shown == ["user", "assistant", "user", "assistant", "tool", "assistant"]


async def test_a_check_needs_no_rule_but_a_rule_may_deny_it(it: Live) -> None:
    it.state.definitions.permissions = it.state.definitions.permissions.model_validate(
        {"rules": [{"tool": "bash", "match": "rm *", "decision": "deny"}]}
    )
    it.script(TEXT)
    assert (await it.ask(completion=({"command": "true"},))).status is Status.COMPLETED
    run = await it.ask(completion=({"command": "rm -rf build"},))
    assert run.status is Status.FAILED and len(reminders(it)) == 0, "the model can do nothing about it"
    assert it.data("permission.decided")[0]["origin"] == "the run's completion rule 1"


async def test_a_check_that_a_rule_asks_about_waits_for_a_person(it: Live) -> None:
    it.state.definitions.permissions = it.state.definitions.permissions.model_validate(
        {"rules": [{"tool": "bash", "match": "touch *", "decision": "ask"}]}
    )
    it.script(TEXT)
    run = await it.ask(completion=({"command": "touch a"},))
    assert run.status is Status.WAITING_FOR_APPROVAL and not (it.workspace / "a").exists()
    approvals.resolve(it.state, pending(it)[0].approval_id, "allow", by="ann", via="api")
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert (it.workspace / "a").exists()


async def test_commands_need_not_run_again_while_only_the_text_is_mended(it: Live) -> None:
    wanted: dict[str, Any] = {"const": [1]}
    it.script({"text": "[2]"}, {"text": "[1]"})
    run = await it.ask(completion=({"command": "echo x >> f"}, {"output_matches": wanted}))
    assert run.status is Status.COMPLETED
    assert (it.workspace / "f").read_text() == "x\n"


async def test_completion_and_output_contract_are_both_kept(it: Live) -> None:
    it.allow("write_file")
    it.script(TEXT, call("write_file", path="a", content="x"), {"text": "no"}, {"text": "1"})
    run = await it.ask(completion=({"command": "test -e a"},), output_contract={"const": 1})
    assert run.status is Status.COMPLETED
    assert [one["reason"] for one in it.data("run.nudged")] == ["completion", "output_contract"]


async def test_a_check_outlives_the_daemon_and_runs_once(it: Live) -> None:
    it.script(TEXT)
    command = "echo one >> f; while [ ! -e go ]; do sleep 0.01; done"
    run = it.submit_run(completion=({"command": command},))
    it.settle()
    await it.until((it.workspace / "f").exists)
    await it.worker.drain(0.0)
    it.agent.jobs.close()
    again = it.reborn()
    (it.workspace / "go").touch()
    run = await again.rest(run.run_id)
    assert run.status is Status.COMPLETED
    assert (it.workspace / "f").read_text() == "one\n"
    assert again.kinds(run.run_id).count("tool.started") == 1
    await again.close()


async def test_the_model_is_told_all_requirements_before(it: Live) -> None:
    run = it.submit_run(completion=("the cause is named", {"command": "make test"}))
    sections = {part.name: part.text for part in await prompt.sections(it.state, run, {})}
    assert "1. the cause is named\n2. `make test` ends with exit status 0" in sections["Completion"]
