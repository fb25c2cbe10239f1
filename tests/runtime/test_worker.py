"""Which run of a session goes on, where several may."""

from __future__ import annotations

import pytest

from kheish.domain import approvals
from kheish.domain.runs import Run, Status
from kheish.runtime.worker import Worker
from tests.runtime.harness import Live, call


async def test_an_answer_that_comes_while_another_run_is_taken_lets_one_of_them_go_on(
    it: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the run that was taken is looked at in a thread; meanwhile the parked one comes before it."""
    it.session("t", workspace=it.workspace, while_waiting="park")
    it.script(call("bash", command="true"), {"text": "first"})
    it.script({"text": "second"}, route="other")
    parked = await it.ask(session_id="t", route="local")
    assert parked.status is Status.WAITING_FOR_APPROVAL
    looked, worked = Worker._has_workspace, set[str]()

    async def slowly(worker: Worker, run: Run) -> bool:
        if run.run_id not in worked:
            worked.add(run.run_id)
            if run.run_id != parked.run_id:
                approvals.resolve(it.state, parked.pending_approvals[0], "allow", by="me", via="api")
        return await looked(worker, run)

    monkeypatch.setattr(Worker, "_has_workspace", slowly)
    second = await it.ask(session_id="t", route="other")
    assert (second.output, (await it.rest(parked.run_id)).output) == ("second", "first")

    kinds = ("run.started", "run.resumed", "run.completed")
    order = [(line["kind"], line["run"]) for line in it.lines if line["kind"] in kinds][1:]
    assert order == [
        ("run.resumed", parked.run_id), ("run.completed", parked.run_id),
        ("run.started", second.run_id), ("run.completed", second.run_id),
    ]  # fmt: skip
