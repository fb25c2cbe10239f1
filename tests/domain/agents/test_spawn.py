"""What a child gets of its parent, which runs may spawn, and what a stop leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import events, runs
from kheish.domain.agents import ending, spawn, usage
from kheish.domain.agents.agent import Agent, of_session
from kheish.domain.events import Item
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import RunStateConflict, ScopeTooWide, SpawnQuota
from tests.support.stateful import Played


def child_of(p: Played, session_id: str = "s", run: Run | None = None, **more: Any) -> Agent:
    wanted = spawn.Spawn(**{"name": "kid", "items": (Item(text="do it"),), "by": "test", **more})
    planned = spawn.plan(p.state, of_session(p.state, session_id), run, wanted)
    p.state.append(*spawn.drafts(p.state, planned))
    return p.state.get(Agent, planned.agent_id)


def only(*names: str) -> dict[str, Any]:
    """A scope that leaves these names."""
    return {"allow": list(names), "deny": []}


def test_a_child_inherits_rules_scopes_and_mode(p: Played) -> None:
    rule = {"tool": "bash", "match": "rm *", "decision": "deny"}
    scopes = {"credential_scope": only("local"), "capability_scope": only("read_*")}
    p.session("narrow", permission_mode="dont_ask", permission_rules=[rule], **scopes)
    child = child_of(p, "narrow", allow=("*",), deny=("read_secret",))
    settings = p.state.get(Session, child.session_id).settings
    assert (settings["permission_mode"], settings["permission_rules"]) == ("dont_ask", [rule])
    (run,) = p.state.table(Run, child.session_id).values()
    frozen = run.settings
    assert [one.allow for one in frozen.capability_scope] == [("read_*",), ("*",)], "both hold"
    assert [one.allow for one in frozen.credential_scope] == [("local",)] and frozen.route == "local"
    again = p.restart()
    assert again.state.get(Agent, child.agent_id) == child
    again.index.close()


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"permission_mode": "bypass", "allow_bypass": True}, "/permission_mode"),
        ({"permission_mode": "default"}, "/permission_mode"),
        ({"allow": ("bash",)}, "/tools/allow/0"),
        ({"route": "other"}, "/route"),
        ({"credential_scope": {"allow": ["route:other"], "deny": []}}, "/credential_scope/allow/0"),
        ({"workspace": "/"}, "/cwd"),
        ({"budget": {"tokens": 11}}, "/budget/tokens"),
    ],
)
def test_a_request_for_more_names_what_was_too_wide(p: Played, more: dict[str, Any], place: str) -> None:
    p.route("other", script={"echo": True})
    scopes = {"credential_scope": only("local"), "capability_scope": only("read_*")}
    p.session("narrow", permission_mode="plan", budget={"tokens": 10}, route="local", **scopes)
    with pytest.raises(ScopeTooWide) as refused:
        child_of(p, "narrow", name="not a slug, which is looked at later", **more)
    assert [fault.path for fault in refused.value.errors] == [place]


def test_bypass_is_too_wide_where_the_daemon_forbids_it(p: Played) -> None:
    p.session("free", permission_mode="bypass")
    with pytest.raises(ScopeTooWide):
        child_of(p, "free", permission_mode="bypass")
    child_of(p, "free", permission_mode="bypass", allow_bypass=True)


@pytest.mark.demand(22)
def test_a_run_that_is_being_stopped_spawns_nothing(p: Played) -> None:
    run = p.move(p.submit_run().run_id, events.RunStarted())
    runs.cancel(p.state, run.run_id, by="test")
    with pytest.raises(RunStateConflict):
        child_of(p, run=p.run(run.run_id))


@pytest.mark.demand(22)
def test_a_stop_leaves_detached_children_and_those_of_other_runs(p: Played) -> None:
    first, second = p.submit_run(), p.submit_run()
    p.move(first.run_id, events.RunStarted())
    taken = child_of(p, run=p.run(first.run_id))
    below = child_of(p, taken.session_id, name="below")
    left = [child_of(p, run=p.run(first.run_id), name="free", detached=True), child_of(p, run=second, name="other")]

    stopped = ending.stop_run(p.state, first.run_id, by="test")

    assert stopped.agents == [below.agent_id, taken.agent_id] and stopped.runs[-1] == first.run_id
    assert all(p.state.get(Agent, one.agent_id).runs for one in left)
    assert not list(ending.orphaned(p.state, of_session(p.state, "s"))) or p.run(first.run_id).stop_requested


def test_quotas_are_all_named(p: Played) -> None:
    config = p.state.definitions.config
    limits = config.agents.model_copy(update={"depth": 0, "live_per_parent": 0, "live_per_root": 0, "live": 0})
    p.state.definitions.config = config.model_copy(update={"agents": limits})
    with pytest.raises(SpawnQuota) as refused:
        child_of(p)
    names = [fault.path.rpartition("/")[2] for fault in refused.value.errors]
    assert names == ["depth", "live_per_parent", "live_per_root", "live"]


def test_what_a_child_spends_counts_once_above_it(p: Played) -> None:
    parent = p.move(p.submit_run().run_id, events.RunStarted())
    child = child_of(p, run=p.run(parent.run_id))
    (run,) = p.state.table(Run, child.session_id).values()
    p.move(run.run_id, events.RunStarted(),
           events.ModelResponded(turn=0, text="", usage=events.Usage(input_tokens=7), route="local"))  # fmt: skip
    root = of_session(p.state, "s")
    assert usage.subtree(p.state, root).input_tokens == 7 == usage.of_run(p.state, p.run(parent.run_id)).input_tokens
    runs.complete(p.state, run.run_id, "done")
    ending.settle(p.state, p.state.get(Agent, child.agent_id), "done")
    root = of_session(p.state, "s")
    assert (root.live, root.below.input_tokens, usage.subtree(p.state, root).input_tokens) == ((), 7, 7)
    assert p.run(parent.run_id).below.input_tokens == 7


def fetches(p: Played, session_id: str, run_id: str) -> None:
    """A call brings a page into the conversation."""
    started = events.ToolStarted(
        call_id="c", tool="web_fetch", arguments={}, digest="", key="", effect="effect", replay="safe"
    )
    p.state.append(started.on(session_id, run_id))


def test_taint_travels_down_with_a_task_and_up_with_a_result(p: Played) -> None:
    clean = child_of(p)
    assert p.state.get(Session, clean.session_id).tainted_by is None
    (run_id,) = clean.runs
    fetches(p, clean.session_id, run_id)
    runs.cancel(p.state, run_id, by="test")
    ending.settle(p.state, p.state.get(Agent, clean.agent_id), None)
    assert p.state.get(Session, "s").tainted_by == "web_fetch"
    below = child_of(p, name="later")
    assert p.state.get(Session, below.session_id).tainted_by == "web_fetch"
