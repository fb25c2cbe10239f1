"""The one door for work: all is checked at submission, and nothing is accepted otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.config import Config
from kheish.domain import events, intake, keys, runs
from kheish.domain.events import Item
from kheish.domain.runs import Run, Status
from kheish.domain.sessions import session as sessions
from kheish.errors import (
    IdempotencyConflict,
    InsufficientStorage,
    Invalid,
    InvalidInput,
    NotFound,
    RouteNotReady,
    RouteRequired,
    RunStateConflict,
    SessionEnded,
)
from kheish.state import encoding
from tests.support.stateful import Played, keyed

PRICE = {"input_per_mtok": 1.0, "output_per_mtok": 1.0}


def test_a_run_freezes_its_settings_when_it_is_accepted(p: Played) -> None:
    run = p.submit_run(generation={"temperature": 0})
    assert (run.status, run.settings.route, run.settings.generation) == (Status.QUEUED, "local", {"temperature": 0})
    sessions.update(p.state, "s", {"permission_mode": "plan"}, by="me")
    assert p.run(run.run_id).settings.permission_mode == "default"


def test_all_faults_are_told_at_once_and_nothing_is_accepted(p: Played) -> None:
    given = intake.Input(
        session_id="s",
        items=(Item(text=""), Item(type="asset", asset_id="x")),
        actor="me",
        metadata={"a": "x" * 20000},
        reply_targets=({"connector": "slack"},),
        completion=({"comand": "make"},),
    )
    n = p.state.n
    with pytest.raises(Invalid) as refused:
        intake.submit(p.state, given)
    paths = [fault.path for fault in refused.value.errors]
    assert paths == ["/items/0/text", "/items/1/asset_id", "/reply_targets/0", "/completion/0", "/metadata"]
    assert p.state.n == n


@pytest.mark.parametrize("items", [(), (Item(text=None),)])
def test_an_empty_input_is_refused(p: Played, items: Any) -> None:
    with pytest.raises(Invalid):
        intake.submit(p.state, intake.Input(session_id="s", items=items, actor="me"))


def test_the_narrowest_limit_wins(p: Played) -> None:
    p.state.definitions.config = Config.model_validate({"limits": {"turns": 50, "tokens": 1000, "wall_time": "1h"}})
    p.route("paid", script={"echo": True}, price=PRICE, budget={"tokens": 800, "cost_usd": 2.0})
    p.session("t", budget={"turns": 20, "tokens": 100, "wall_time": "30m"})
    run = p.submit_run(session_id="t", route="paid", budget={"turns": 30, "cost_usd": 1.0, "model_calls": 7})
    limits = run.settings.limits
    assert (limits.turns, limits.wall_time, limits.model_calls) == (20, 1800.0, 7)
    assert (limits.tokens, limits.cost_usd) == (800, 1.0), "the session's 100 tokens are for all its runs"


def test_500_turns_where_nothing_is_said(p: Played) -> None:
    assert p.submit_run().settings.limits == events.Limits(turns=500)


@pytest.mark.parametrize("where", ["request", "config"])
def test_an_unpriced_model_with_a_limit_in_dollars_is_refused(p: Played, where: str) -> None:
    if where == "config":
        p.state.definitions.config = Config.model_validate({"limits": {"cost_usd": 1.0}})
    with pytest.raises(Invalid) as refused:
        p.submit_run(budget={"cost_usd": 1.0} if where == "request" else None)
    assert [fault.path for fault in refused.value.errors] == ["/budget/cost_usd"]
    p.route("paid", script={"echo": True}, price=PRICE)
    assert p.submit_run(route="paid", budget={"cost_usd": 1.0}).settings.limits.cost_usd == 1.0


def test_an_unpriced_model_in_a_session_with_a_dollar_budget_is_refused(p: Played) -> None:
    p.session("t", budget={"cost_usd": 1.0})
    with pytest.raises(Invalid):
        p.submit_run(session_id="t")


def test_the_same_key_and_request_give_the_same_run(p: Played) -> None:
    key = keyed("runs s", "k", content="do it")
    run = p.submit_run(key=key)
    n = p.state.n
    assert p.submit_run(key=key).run_id == run.run_id
    assert p.state.n == n
    with pytest.raises(IdempotencyConflict) as conflict:
        p.submit_run("other", key=keyed("runs s", "k", content="other"))
    assert conflict.value.extra == {"result": run.run_id}
    assert p.submit_run(key=keyed("runs t", "k")).run_id != run.run_id
    again = p.restart()
    assert again.submit_run(key=key).run_id == run.run_id
    again.index.close()


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
def test_a_key_that_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid):
        keys.of("e", key, {})


def test_what_is_not_there_or_not_ready(p: Played) -> None:
    p.route("bare", driver="openai", model="m", auth_ref="env:KHEISH_NO_SUCH_VARIABLE")
    for error, given in (
        (NotFound, {"session_id": "nobody"}),
        (RouteNotReady, {"route": "bare"}),
        (RouteRequired, {}),
        (Invalid, {"route": "locla"}),
    ):
        with pytest.raises(error):
            p.submit_run(**given)
    assert p.submit_run(route="local/other-model").settings.model == "other-model"


def test_an_ended_session_and_a_full_disk_refuse(p: Played) -> None:
    p.state.low_space = "Only 3 MiB are free."
    with pytest.raises(InsufficientStorage):
        p.submit_run()
    p.state.low_space = None
    p.state.append(events.SessionEnded().on("s"))
    with pytest.raises(SessionEnded):
        p.submit_run()


def test_an_input_contract_names_every_error(p: Played) -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"b": {"type": "integer"}}}
    p.session("t", input_contract=schema)
    with pytest.raises(InvalidInput) as refused:
        p.submit_run('{"b": "x"}', session_id="t")
    assert {fault.path for fault in refused.value.errors} == {"", "/b"} or len(refused.value.errors) == 2
    p.submit_run('{"a": 1, "b": 2}', session_id="t")


def test_a_bad_output_contract_is_refused(p: Played) -> None:
    with pytest.raises(Invalid):
        p.submit_run(output_contract={"type": "nonsense"})


def test_a_retry_is_a_new_run_with_the_same_request(p: Played) -> None:
    run = p.submit_run("first", metadata={"a": 1}, generation={"seed": 1}, budget={"turns": 9})
    with pytest.raises(RunStateConflict):
        intake.again(p.state, encoding.plain(runs.view(run)), by="me")
    runs.cancel(p.state, run.run_id, by="me")
    doc = p.state.recalled(Run, run.run_id)
    assert doc is not None
    again = intake.submit(p.state, intake.again(p.state, doc, by="me"))
    assert isinstance(again, Run)
    assert (again.retry_of, again.request.items, again.request.metadata) == (run.run_id, run.request.items, {"a": 1})
    assert (again.settings.generation, again.settings.limits.turns) == ({"seed": 1}, 9)
