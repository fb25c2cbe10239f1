"""Getting more out of an approval than a person gave: another call, a second time, other content, one's own answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.domain import approvals, completion
from kheish.domain.approvals import Approval
from kheish.domain.runs import Status
from kheish.domain.turns import Turn
from kheish.errors import ApprovalResolved
from kheish.runtime import model_turn
from kheish.runtime.drivers.base import Call, Reply
from tests.runtime.conftest import it  # noqa: F401 - a fixture
from tests.runtime.harness import Live, call

TWICE = call("bash", command="echo x >> f")


def pending(live: Live) -> list[Approval]:
    return [one for one in live.state.loaded(Approval) if one.status == "pending"]


def allow(live: Live, approval: Approval) -> None:
    approvals.resolve(live.state, approval.approval_id, "allow", by="ann", via="api")


def lines(workspace: Path) -> int:
    return (workspace / "f").read_text().count("\n") if (workspace / "f").exists() else 0


@pytest.mark.demand(17)
async def test_replay_of_an_approval_to_the_same_call_again(it: Live) -> None:  # noqa: F811
    it.script(TWICE, TWICE, {"text": "done"})
    run = await it.ask()
    [first] = pending(it)
    allow(it, first)
    run = await it.rest(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL and lines(it.workspace) == 1, "allowed means: once"
    [second] = pending(it)
    assert second.digest == first.digest and second.approval_id != first.approval_id
    with pytest.raises(ApprovalResolved):
        allow(it, first)
    assert lines(it.workspace) == 1


@pytest.mark.demand(17)
async def test_replay_of_an_approval_to_another_call_of_the_turn(it: Live) -> None:  # noqa: F811
    both = {"tool_calls": [*TWICE["tool_calls"], {"name": "bash", "arguments": {"command": "echo y > g"}}]}
    it.script(both, {"text": "done"})
    run = await it.ask()
    first, second = sorted(pending(it), key=lambda one: str(one.arguments), reverse=False)
    assert first.digest != second.digest
    allow(it, first)
    run = it.run_of(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL
    approvals.resolve(it.state, second.approval_id, "deny", by="ann", via="api")
    await it.rest(run.run_id)
    assert lines(it.workspace) == 1 and not (it.workspace / "g").exists()


@pytest.mark.demand(17)
async def test_a_script_changed_between_approval_and_use(it: Live) -> None:  # noqa: F811
    script = it.workspace / "deploy.sh"
    script.write_text("echo harmless > f\n")
    it.script(call("bash", command="sh ./deploy.sh"), {"text": "done"})
    run = await it.ask()
    [asked] = pending(it)
    script.write_text("echo evil > g\n")
    allow(it, asked)
    run = await it.rest(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL and not (it.workspace / "g").exists()


@pytest.mark.demand(17)
async def test_a_script_replaced_by_a_link(it: Live, tmp_path: Path) -> None:  # noqa: F811
    script = it.workspace / "deploy.sh"
    script.write_text("echo harmless > f\n")
    (tmp_path / "evil.sh").write_text("echo evil > g\n")
    it.script(call("bash", command="sh deploy.sh"), {"text": "done"})
    run = await it.ask()
    [asked] = pending(it)
    script.unlink()
    script.symlink_to(tmp_path / "evil.sh")
    allow(it, asked)
    run = await it.rest(run.run_id)
    assert run.status is Status.WAITING_FOR_APPROVAL and not (it.workspace / "g").exists()


async def test_a_call_id_that_pretends_to_be_a_check_of_the_daemon(it: Live) -> None:  # noqa: F811
    """A check of a completion requirement needs no rule; a model must not get that by naming its call so."""
    run = it.submit_run(completion=({"command": "true"},))
    asked = Call(id="check:1:1", name="bash", arguments={"command": "touch pwned"})
    [found] = model_turn.model_calls(it.state, run, Turn(run_id=run.run_id), Reply(calls=(asked,)), {})
    assert not completion.is_check(found.id) and found.arguments == asked.arguments
