"""A question about the budget expires by the policy of approvals, as every approval does."""

from __future__ import annotations

from kheish.domain import approvals
from kheish.domain.approvals import Approval
from kheish.domain.permissions.rules import PermissionsFile
from kheish.domain.runs import Status
from tests.runtime.harness import Live


async def test_nobody_grants_more(it: Live) -> None:
    it.state.clock = lambda: 1000.0
    it.state.definitions.permissions = PermissionsFile.model_validate({"approvals": {"expires": "90s"}})
    usage = {"input_tokens": 10, "output_tokens": 0}
    it.script({"tool_calls": [{"name": "list_files", "arguments": {}}], "usage": usage}, {"text": "done"})
    run = await it.ask(budget={"tokens": 10})
    [asked] = [one for one in it.state.loaded(Approval) if one.status == "pending"]
    assert (asked.tool, asked.expires_at) == ("budget", "1970-01-01T00:18:10.000000Z")
    approvals.expire(it.state, "1970-01-01T00:18:10.000000Z")
    run = await it.rest(run.run_id)
    assert run.status is Status.FAILED and run.error is not None and run.error.code == "budget_exceeded"
