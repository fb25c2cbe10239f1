"""The loop, over everything real but the model, which is scripted."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from kheish.auth import redaction
from kheish.config import Config
from kheish.domain import approvals, events, questions, runs
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.domain.turns import Turn
from kheish.errors import SecretInArguments
from kheish.jobs.runner import JobSpec
from tests.runtime.harness import Live, call

DONE = {"text": "done: {{last_result}}"}


def only(found: dict[str, Any] | Any) -> Any:
    assert len(found) == 1
    return next(iter(found.values() if isinstance(found, dict) else found))


def pending(it: Live) -> list[Approval]:
    return [one for one in it.state.loaded(Approval) if one.status == "pending"]


async def test_a_text_answer_completes_the_run(it: Live) -> None:
    run = await it.ask("hello")
    assert (run.status, run.output) == (Status.COMPLETED, "hello")
    kinds = ["run.submitted", "run.started", "model.requested", "model.responded", "memory.recorded", "run.completed"]
    assert it.kinds(run.run_id) == kinds
    shown = [frame for frame in it.frames if frame.kind == "model.delta"]
    assert b'"text":"hello"' in shown[0].line and shown[0].n == 0


async def test_a_read_is_answered_without_asking(it: Live) -> None:
    (it.workspace / "a.txt").write_text("forty-two\n")
    it.script(call("read_file", path="a.txt"), {**DONE, "expect": "forty-two"})
    run = await it.ask()
    assert run.status is Status.COMPLETED and "forty-two" in str(run.output)
    assert run.usage.tool_calls == 1
    order = ["model.responded", "permission.decided", "tool.started", "tool.finished", "model.requested"]
    assert it.kinds(run.run_id)[3:8] == order


async def test_an_approval_suspends_and_the_call_runs_when_it_is_allowed(it: Live) -> None:
    it.script(call("write_file", path="a.txt", content="hi"), DONE)
    run = await it.ask()
    assert run.status is Status.WAITING_FOR_APPROVAL
    assert not (it.workspace / "a.txt").exists()
    approvals.resolve(it.state, only(pending(it)).approval_id, "allow", by="ann", via="api")
    run = await it.rest(run.run_id)
    assert run.status is Status.COMPLETED
    assert (it.workspace / "a.txt").read_text() == "hi"
    assert it.kinds(run.run_id).count("model.requested") == 2, "the model is not asked again for the call"


async def test_a_denied_call_is_told_with_the_reason_and_the_run_goes_on(it: Live) -> None:
    it.script(call("write_file", path="a.txt", content="hi"), {**DONE, "expect": "not now"})
    run = await it.ask()
    approvals.resolve(it.state, only(pending(it)).approval_id, "deny", by="ann", via="api", reason="not now")
    run = await it.rest(run.run_id)
    assert run.status is Status.COMPLETED
    assert it.results() == [(True, "approval_denied", "A person (ann) denied this call. Reason: not now")]


async def test_an_approval_expires_by_policy_and_is_an_error_result(it: Live) -> None:
    it.state.clock = lambda: 1000.0
    it.allow("list_files", approvals={"expires": "90s"})
    it.script(call("write_file", path="a.txt", content="hi"), DONE)
    run = await it.ask()
    assert only(pending(it)).expires_at == "1970-01-01T00:18:10.000000Z"
    assert approvals.expire(it.state, "1970-01-01T00:18:09.999999Z") == []
    assert len(approvals.expire(it.state, "1970-01-01T00:18:10.000000Z")) == 1
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert it.results()[0][1] == "approval_expired"


async def test_two_calls_that_ask_are_requested_at_once(it: Live) -> None:
    calls = [{"name": "write_file", "arguments": {"path": name, "content": name}} for name in ("a", "b")]
    it.script({"tool_calls": calls}, DONE)
    run = await it.ask()
    first, second = pending(it)
    approvals.resolve(it.state, second.approval_id, "allow", by="ann", via="api")
    await asyncio.sleep(0)
    assert it.run_of(run.run_id).status is Status.WAITING_FOR_APPROVAL
    approvals.resolve(it.state, first.approval_id, "deny", by="ann", via="api")
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert sorted(path.name for path in it.workspace.iterdir()) == ["b"]


async def test_edited_arguments_are_what_runs(it: Live) -> None:
    it.script(call("write_file", path="a.txt", content="hi"), DONE)
    run = await it.ask()
    edited = {"path": "b.txt", "content": "edited"}
    digest = approvals.digest_of(tool="write_file", arguments=edited, folder=str(it.workspace), executable=None)
    id = only(pending(it)).approval_id
    approvals.resolve(
        it.state, id, "allow", by="ann", via="api", arguments=edited, bound=approvals.Bound(digest=digest)
    )
    await it.rest(run.run_id)
    assert [path.name for path in it.workspace.iterdir()] == ["b.txt"]


async def test_what_changed_since_it_was_approved_is_asked_again(it: Live) -> None:
    it.script(call("write_file", path="a.txt", content="hi"), DONE)
    run = await it.ask()
    edited = {"path": "b.txt", "content": "x"}
    approvals.resolve(
        it.state,
        only(pending(it)).approval_id,
        "allow",
        by="a",
        via="api",
        arguments=edited,
        bound=approvals.Bound(digest="0" * 64),
    )
    run = await it.rest(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL
    assert "changed since" in only(pending(it)).why
    assert list(it.workspace.iterdir()) == []


@pytest.mark.parametrize(
    ("turn", "code", "words"),
    [
        (call("raed_file", path="a"), "unknown_tool", "Did you mean read_file"),
        (call("read_file", pth="a"), "invalid_arguments", "did you mean path?"),
        (call("read_file", path="nowhere"), "tool_error", "nowhere"),
        (call("read_file", path="../../etc/passwd"), "tool_error", ""),
    ],
)
async def test_a_wrong_call_is_told_to_the_model(it: Live, turn: dict[str, Any], code: str, words: str) -> None:
    it.script(turn, DONE)
    assert (await it.ask()).status is Status.COMPLETED
    is_error, found, content = it.results()[0]
    assert (is_error, found) == (True, code) and words in content


async def test_malformed_arguments_are_told_to_the_model(it: Live) -> None:
    run = it.submit_run()
    malformed = events.ModelCall(id="c", name="read_file", malformed='{"path": ')
    it.move(run.run_id, events.RunStarted(), events.ModelResponded(turn=0, text="", calls=(malformed,)))
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert it.results()[0][1] == "invalid_arguments" and "no JSON object" in it.results()[0][2]


async def test_a_call_that_a_rule_denies_never_starts(it: Live) -> None:
    it.allow(rules=[{"tool": "read_file", "decision": "deny", "reason": "secret"}])
    it.script(call("read_file", path="a"), DONE)
    assert (await it.ask()).status is Status.COMPLETED
    assert it.results()[0][1] == "permission_denied"
    assert "tool.started" not in it.kinds()


async def test_a_question_waits_and_its_answer_is_the_result(it: Live) -> None:
    options = [{"label": "Yes"}, {"label": "No"}]
    asked = {"header": "Go", "text": "Go on?", "options": options}
    it.script(call("ask_user_question", questions=[asked]), DONE)
    run = await it.ask()
    assert run.status is Status.WAITING_FOR_QUESTION
    questions.answer(it.state, only(run.pending_questions), {"q1": {"selected": ["a"]}}, by="ann", via="api")
    run = await it.rest(run.run_id)
    assert (run.status, run.output) == (Status.COMPLETED, "done: Go: Yes")


async def test_a_declined_question_is_an_error_and_the_run_goes_on(it: Live) -> None:
    asked = {"header": "Go", "text": "Go on?", "options": [{"label": "Yes"}, {"label": "No"}]}
    it.script(call("ask_user_question", questions=[asked]), DONE)
    run = await it.ask()
    questions.decline(it.state, only(run.pending_questions), by="ann", via="api", reason="busy")
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert it.results()[0][0] is True and "busy" in it.results()[0][2]


# --- the model fails --------------------------------------------------------------------------------------------------


async def test_a_429_is_tried_again_after_what_the_server_asks(it: Live) -> None:
    it.script({"error": {"status": 429, "retry_after": 0.01}}, {"error": {"status": 503, "retry_after": 0}}, DONE)
    run = await it.ask("hi")
    assert (run.status, run.output) == (Status.COMPLETED, "done: hi"), "a failed attempt is a turn of the script"
    failed = it.data("model.failed")
    assert [(one["status"], one["retry_in"], one["attempt"]) for one in failed] == [(429, 0.01, 1), (503, 0.0, 2)]
    assert [one["attempt"] for one in it.data("model.requested")] == [1, 2, 3]


async def test_a_route_that_has_failed_gives_way_to_each_of_its_fallbacks(it: Live) -> None:
    fails = {"error": {"status": 503, "retry_after": 0}}
    it.script(fails, fails, fails, route="local", max_retries=1, fallbacks=["b", "c"])
    it.script(fails, fails, fails, fails, route="b", max_retries=0)
    it.script(*[DONE] * 5, route="c")
    run = await it.ask("hi", route="local")
    assert run.status is Status.COMPLETED, run.error
    assert [one["route"] for one in it.data("model.requested")] == ["local", "local", "b", "c"]
    assert it.data("model.responded")[0]["route"] == "c"


async def test_a_run_whose_routes_are_gone_says_why_of_each(it: Live) -> None:
    it.script(DONE)
    first = it.submit_run()
    it.script(DONE, auth_ref="openai.none", fallbacks=["b", "gone"])
    it.script({"error": {"status": 503}}, route="b", auth_ref="env:KHEISH_NO_SUCH_KEY")
    run = await it.rest(first.run_id)
    assert run.error is not None and run.error.code == "model_unavailable"
    for part in ("no secret 'openai.none'", "has no KHEISH_NO_SUCH_KEY", "there is no route 'gone'"):
        assert part in run.error.message
    it.script(DONE)
    second = it.submit_run(route="local")
    it.state.definitions.by_kind["routes"].clear()
    run = await it.rest(second.run_id)
    assert run.error is not None and run.error.message == "No route is left: there is no route 'local'."


async def test_a_route_that_fails_for_good_fails_the_run(it: Live) -> None:
    it.script(*[{"error": {"status": 503, "retry_after": 0}}] * 3, max_retries=1, patience="0s")
    run = await it.ask()
    assert run.status is Status.FAILED and run.error is not None
    assert (run.error.code, run.error.retryable) == ("model_server", True)
    assert len(it.data("model.failed")) == 2


async def test_a_script_that_expects_something_else_fails_the_run_at_once(it: Live) -> None:
    it.script({"text": "x", "expect": "something else"}, fallbacks=["b"])
    it.script(DONE, route="b")
    run = await it.ask(route="local")
    assert run.error is not None and run.error.code == "model_error"


TOO_LONG: dict[str, Any] = {"error": {"status": 400, "code": "context_length_exceeded"}}


async def test_a_prompt_that_is_too_long_is_made_smaller_and_asked_again(it: Live) -> None:
    for number in range(5):
        await it.ask(f"question {number} " + "word " * 2000)
    it.script(TOO_LONG, {"text": "a summary"}, DONE)
    run = await it.ask("the last")
    assert run.status is Status.COMPLETED, run.error
    assert it.data("context.compacted")[0]["summary"] == "a summary"


async def test_a_prompt_that_is_too_long_whatever_is_left_out_fails_with_numbers(it: Live) -> None:
    it.script(*[TOO_LONG] * 30)
    run = await it.ask("x" * 5000)
    assert run.error is not None and run.error.code == "context_length"
    assert "The smallest prompt" in run.error.message and "tokens" in run.error.message


async def test_a_summary_that_cannot_be_had_for_an_outage_is_tried_again_like_any_call(it: Live) -> None:
    for number in range(5):
        await it.ask(f"question {number} " + "word " * 2000)
    it.script(TOO_LONG, *[{"error": {"status": 503, "retry_after": 0}}] * 9, max_retries=2, patience="0s")
    run = await it.ask("the last")
    assert run.error is not None and run.error.code == "model_server"
    assert {one["purpose"] for one in it.data("model.failed")} == {"turn", "compaction"}


# --- contracts, budgets, limits ---------------------------------------------------------------------------------------

CONTRACT = {"type": "object", "required": ["ok"]}


async def test_an_answer_that_does_not_fit_is_repaired_without_tools(it: Live) -> None:
    it.script({"text": "no json"}, {"text": "{}"}, {"text": '{"ok": 1}', "expect": "ok"})
    run = await it.ask(output_contract=CONTRACT)
    assert (run.status, run.output) == (Status.COMPLETED, '{"ok": 1}')
    assert len(it.data("run.nudged")) == 2


async def test_after_three_repairs_the_run_fails_with_the_last_errors(it: Live) -> None:
    it.script({"text": "{}"})
    run = await it.ask(output_contract=CONTRACT)
    assert run.error is not None and run.error.code == "output_contract_unsatisfied"
    assert "ok" in run.error.message
    assert len(it.data("model.responded")) == 4


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_a_used_budget_asks_for_more(it: Live, decision: Any) -> None:
    used = {"input_tokens": 10, "output_tokens": 0}
    it.script({**call("list_files"), "usage": used}, {**DONE, "usage": used})
    run = await it.ask(budget={"tokens": 10})
    approval = only(pending(it))
    assert (run.status, approval.tool) == (Status.WAITING_FOR_APPROVAL, "budget")
    assert approval.arguments == {"limit": "tokens", "spent": 10.0, "more": 10.0}
    approvals.resolve(it.state, approval.approval_id, decision, by="ann", via="api")
    run = await it.rest(run.run_id)
    if decision == "allow":
        assert run.status is Status.COMPLETED
    else:
        assert run.error is not None and run.error.code == "budget_exceeded"


async def test_a_budget_fails_where_nobody_is_asked(it: Live) -> None:
    it.session("quiet", workspace=it.workspace, permission_mode="dont_ask")
    it.script({**call("list_files"), "usage": {"input_tokens": 10}}, DONE)
    run = await it.ask(session_id="quiet", budget={"tokens": 10})
    assert run.error is not None and run.error.code == "budget_exceeded"


async def test_the_limit_of_turns_ends_the_run(it: Live) -> None:
    it.script(*[call("list_files")] * 9)
    run = await it.ask(budget={"turns": 3})
    assert run.error is not None and run.error.code == "limit_exceeded"
    assert run.usage.model_calls == 3


# --- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "status"), [(runs.cancel, "cancelled"), (runs.interrupt, "interrupted")])
async def test_a_run_that_waits_for_its_model_is_stopped_at_once(it: Live, verb: Any, status: str) -> None:
    it.script({"text": "late", "delay": "1h"})
    run = it.submit_run()
    it.settle()
    await it.until(lambda: run.run_id in it.agent.interruptible)
    verb(it.state, run.run_id, by="ann")
    assert (await it.rest(run.run_id)).status == status


async def test_a_cancelled_command_is_ended_and_the_next_run_starts(it: Live) -> None:
    it.allow("bash")
    it.script(call("bash", command="echo begun > f; sleep 600"), DONE)
    first, second = it.submit_run(), it.submit_run()
    it.settle()
    await it.until((it.workspace / "f").exists)
    it.route()
    runs.cancel(it.state, first.run_id, by="ann")
    assert (await it.rest(first.run_id)).status is Status.CANCELLED
    await it.rest(second.run_id)
    assert it.results()[0][1] == "run_ended"


async def test_one_broken_run_does_not_touch_another(it: Live) -> None:
    class Broken(type(it.agent.executor)):  # type: ignore[misc]
        async def call(self, *given: Any) -> Any:
            raise ZeroDivisionError("a defect")

    it.agent.executor = Broken()
    it.script(call("list_files"), DONE)
    run = await it.ask()
    assert run.error is not None and run.error.code == "internal"
    it.route()
    assert (await it.ask("still here")).output == "still here"


# --- what a restart does ----------------------------------------------------------------------------------------------


def started(call_id: str, tool: str, replay: str, **more: Any) -> events.ToolStarted:
    given = {"arguments": {}, "digest": "", "key": "", "effect": "effect", **more}
    return events.ToolStarted(call_id=call_id, tool=tool, replay=replay, **given)


ALLOWED = {"decision": "allow", "why": "a test"}


async def killed_at(it: Live, *happened: events.Event) -> tuple[Live, str]:
    """A daemon that was killed after these entries of a run, started again."""
    it.agent.stopping.set()
    run = it.submit_run()
    it.move(run.run_id, *happened)
    it.flush()
    await it.close()
    return it.reborn(), run.run_id


@pytest.mark.parametrize(
    "happened",
    [
        (),
        (events.RunStarted(),),
        (events.RunStarted(), events.ModelRequested(turn=0, attempt=1, route="local", model=None, digest="")),
        (events.RunStarted(), events.ModelResponded(turn=0, text="do it")),
    ],
)
async def test_a_run_goes_on_where_it_was_killed(it: Live, happened: tuple[events.Event, ...]) -> None:
    again, run_id = await killed_at(it, *happened)
    run = await again.rest(run_id)
    assert (run.status, run.output) == (Status.COMPLETED, "do it")
    assert again.kinds(run_id).count("run.resumed") == (1 if happened else 0)
    attempts = [one["attempt"] for one in again.data("model.requested")]
    assert (
        attempts
        == {0: [1], 1: [1], 2: [1, 2] if happened[1:] and "requested" in happened[1].kind else []}[len(happened)]
    )
    await again.close()


def answered(tool: str, **arguments: Any) -> events.ModelResponded:
    asked = events.ModelCall(id="c1", name=tool, arguments=arguments)
    return events.ModelResponded(turn=0, text="", calls=(asked,), route="local")


async def test_a_call_that_had_not_started_goes_through_permission(it: Live) -> None:
    again, run_id = await killed_at(it, events.RunStarted(), answered("write_file", path="a", content="x"))
    assert (await again.rest(run_id)).status is Status.WAITING_FOR_APPROVAL
    await again.close()


async def test_a_safe_call_runs_again(it: Live) -> None:
    decided = events.PermissionDecided(call_id="c1", tool="write_file", **ALLOWED)
    again, run_id = await killed_at(
        it,
        events.RunStarted(),
        answered("write_file", path="a", content="x"),
        decided,
        started("c1", "write_file", "safe"),
    )
    assert (await again.rest(run_id)).status is Status.COMPLETED
    assert (it.workspace / "a").read_text() == "x"
    assert again.kinds(run_id).count("tool.started") == 2
    await again.close()


async def test_a_run_that_waits_stays_as_it_was(it: Live) -> None:
    it.script(call("write_file", path="a", content="x"), DONE)
    run = await it.ask()
    await it.close()
    again = it.reborn()
    again.settle()
    await asyncio.sleep(0)
    assert again.worker.driving == 0
    approvals.resolve(again.state, only(pending(again)).approval_id, "allow", by="ann", via="api")
    assert (await again.rest(run.run_id)).status is Status.COMPLETED
    await again.close()


async def ambiguous(it: Live, policy: str = "ask") -> tuple[Live, str]:
    it.state.definitions.config = Config.model_validate({"recovery": {"ambiguous": policy}})
    decided = events.PermissionDecided(call_id="c1", tool="bash", **ALLOWED)
    note = {"job": "job_gone"}
    begun = started("c1", "bash", "unsafe", note=note, arguments={"command": "echo x >> f"})
    return await killed_at(it, events.RunStarted(), answered("bash", command="echo x >> f"), decided, begun)


@pytest.mark.parametrize(
    ("choice", "status", "lines"),
    [
        ({"selected": ["done"], "text": "all well"}, Status.COMPLETED, 0),
        ({"selected": ["run_again"]}, Status.COMPLETED, 1),
        ({"selected": ["fail"]}, Status.FAILED, 0),
        (None, Status.FAILED, 0),
    ],
)
async def test_a_command_without_a_trace_of_its_end_is_asked_about(
    it: Live, choice: Any, status: Status, lines: int
) -> None:
    again, run_id = await ambiguous(it)
    run = await again.rest(run_id)
    assert run.status is Status.WAITING_FOR_QUESTION
    id = only(run.pending_questions)
    if choice:
        questions.answer(again.state, id, {"outcome": choice}, by="ann", via="api")
    else:
        questions.decline(again.state, id, by="ann", via="api", reason=None)
    assert (await again.rest(run_id)).status is status
    found = (it.workspace / "f").read_text().count("x") if (it.workspace / "f").exists() else 0
    assert found == lines
    if choice and choice.get("text"):
        assert again.results()[0][2] == "all well"
    await again.close()


@pytest.mark.parametrize(("policy", "status"), [("retry", Status.COMPLETED), ("fail", Status.FAILED)])
async def test_a_policy_decides_an_ambiguous_call(it: Live, policy: str, status: Status) -> None:
    again, run_id = await ambiguous(it, policy)
    run = await again.rest(run_id)
    assert run.status is status
    assert policy == "retry" or (run.error and run.error.code == "ambiguous_call")
    await again.close()


async def test_a_job_that_was_never_claimed_starts_now(it: Live) -> None:
    command = "echo x >> f; echo made"
    spec = JobSpec(argv=("sh", "-c", command), cwd=str(it.workspace), env={"PATH": os.defpath}, timeout=20.0)
    await it.agent.jobs.create("job_made", spec)
    decided = events.PermissionDecided(call_id="c1", tool="bash", **ALLOWED)
    begun = started("c1", "bash", "unsafe", note={"job": "job_made"}, arguments={"command": command})
    again, run_id = await killed_at(it, events.RunStarted(), answered("bash", command=command), decided, begun)
    assert (await again.rest(run_id)).status is Status.COMPLETED
    assert (it.workspace / "f").read_text() == "x\n"
    assert again.results()[0][2] == "made"
    assert again.kinds(run_id).count("tool.started") == 1
    await again.close()


async def test_a_command_outlives_the_daemon_and_is_found_again(it: Live) -> None:
    it.allow("bash")
    it.script(call("bash", command="echo one >> f; while [ ! -e go ]; do sleep 0.01; done; echo two"), DONE)
    run = it.submit_run()
    it.settle()
    await it.until((it.workspace / "f").exists)
    await it.worker.drain(0.0)
    it.agent.jobs.close()
    again = it.reborn()
    (it.workspace / "go").touch()
    run = await again.rest(run.run_id)
    assert run.status is Status.COMPLETED and "two" in str(run.output)
    assert (it.workspace / "f").read_text() == "one\n"
    assert again.kinds(run.run_id).count("tool.started") == 1
    await again.close()


async def test_when_all_calls_are_finished_the_loop_goes_on(it: Live) -> None:
    finished = events.ToolFinished(call_id="c1", tool="read_file", is_error=False, content="seen")
    it.script({"text": "unused"}, {"text": "{{last_result}}"})
    again, run_id = await killed_at(it, events.RunStarted(), answered("read_file", path="a"), finished)
    run = await again.rest(run_id)
    assert (run.status, run.output) == (Status.COMPLETED, "seen")
    assert again.state.find(Turn, run_id) is None
    await again.close()


async def test_an_effect_waits_until_its_start_is_durable(it: Live) -> None:
    it.allow("write_file")
    it.script(call("write_file", path="a", content="x"), DONE)
    it.hold_at = b"tool.started"
    run = it.submit_run()
    it.settle()
    await it.until(lambda: it.is_held)
    await asyncio.sleep(0.05)
    assert not (it.workspace / "a").exists()
    it.let_go()
    assert (await it.rest(run.run_id)).status is Status.COMPLETED
    assert (it.workspace / "a").exists()


async def test_a_model_call_waits_until_it_is_durable(it: Live) -> None:
    it.hold_at = b"model.requested"
    run = it.submit_run()
    it.settle()
    await it.until(lambda: it.is_held)
    await asyncio.sleep(0.05)
    assert not it.frames
    it.let_go()
    assert (await it.rest(run.run_id)).status is Status.COMPLETED


async def test_a_call_whose_arguments_hold_a_secret_is_refused_and_the_model_is_told(it: Live) -> None:
    it.state.scrub = redaction.scrubber({"deploy": "tok-0123456789"})
    it.allow("bash")
    it.script(call("bash", command="printf tok-0123456789 > there"), {"text": "{{last_result}}"})
    run = await it.ask()
    [(is_error, code, content)] = it.results()
    assert (is_error, code) == (True, "secret_in_arguments") and "secret" in content
    assert run.output == content and not (it.workspace / "there").exists()
    assert "tok-0123456789" not in str(it.lines) and "permission.decided" not in str(it.lines)


async def test_edited_arguments_of_an_approval_may_hold_no_secret(it: Live) -> None:
    it.script(call("bash", command="true"), {"text": "{{last_result}}"})
    run = await it.ask()
    [id] = run.pending_approvals
    it.state.scrub = redaction.scrubber({"deploy": "tok-0123456789"})
    with pytest.raises(SecretInArguments) as refused:
        approvals.resolve(it.state, id, "allow", by="token:a", via="api", arguments={"command": "echo tok-0123456789"})
    assert (refused.value.status, refused.value.code) == (400, "secret_in_arguments")
    assert it.run_of(run.run_id).status == "waiting_for_approval" and "tok-" not in refused.value.detail
