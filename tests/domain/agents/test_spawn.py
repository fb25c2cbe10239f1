"""What a child gets of its parent, which runs may spawn, and what a stop leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from kheish.domain import events, personas, runs
from kheish.domain.agents import ending, spawn, usage
from kheish.domain.agents.agent import Agent, of_session
from kheish.domain.definitions import Definition
from kheish.domain.events import Item
from kheish.domain.personas import Persona
from kheish.domain.projects.definition import ProjectFile
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


def persona(id: str = "lead", **fields: Any) -> tuple[Persona, dict[str, Any]]:
    """An agent file, and the snapshot that a session keeps of it."""
    file = Persona.model_validate({"body": "You lead.", **fields})
    return file, personas.snapshot(id, file, "d", "2026-11-22T12:00:00.000000Z")


def refused_by(p: Played, session_id: str, run: Run | None = None, **more: Any) -> list[str]:
    with pytest.raises(SpawnQuota) as refused:
        child_of(p, session_id, run, name="next", **more)
    return [f"{fault.path.rpartition('/')[2]}: {fault.message}" for fault in refused.value.errors]


@pytest.mark.parametrize(
    ("quota", "most"), [("depth", 1), ("live_per_parent", 1), ("live_per_root", 1), ("spawns_per_run", 1)]
)
def test_a_persona_narrows_each_quota(p: Played, quota: str, most: int) -> None:
    p.session("lead", persona=persona(limits={quota: most})[1])
    run = p.move(p.submit_run(session_id="lead").run_id, events.RunStarted())
    child = child_of(p, "lead", p.run(run.run_id))
    place = child.session_id if quota == "depth" else "lead"
    (why,) = refused_by(p, place, p.run(run.run_id) if quota == "spawns_per_run" else None)
    assert why.startswith(f"{quota}: agents.{quota} is {most}"), why


@pytest.mark.parametrize("quota", ["depth", "live_per_parent", "live_per_root", "spawns_per_run"])
def test_a_project_narrows_each_quota(p: Played, quota: str) -> None:
    put_project(p, agents={quota: 1})
    p.session("lead", project="site")
    run = p.move(p.submit_run(session_id="lead").run_id, events.RunStarted())
    child = child_of(p, "lead", p.run(run.run_id))
    place = child.session_id if quota == "depth" else "lead"
    (why,) = refused_by(p, place, p.run(run.run_id) if quota == "spawns_per_run" else None)
    assert why.startswith(f"{quota}: agents.{quota} is 1"), why


def test_a_project_cannot_widen_a_quota_and_binds_only_its_own(p: Played) -> None:
    put_project(p, agents={"live_per_parent": 0, "depth": 9})
    p.session("lead", project="site")
    p.session("other")
    assert [one.partition(":")[0] for one in refused_by(p, "lead")] == ["live_per_parent"]
    assert child_of(p, "other").session_id


def put_project(p: Played, id: str = "site", **fields: Any) -> None:
    """Put a project in force."""
    value = ProjectFile.model_validate(fields)
    p.state.definitions.by_kind["projects"][id] = Definition(
        kind="projects", id=id, path=f"projects/{id}.yaml", value=value, data={}, raw=b"", digest=""
    )


def test_a_persona_cannot_widen_a_quota(p: Played) -> None:
    p.session("lead", persona=persona(limits={"depth": 9})[1])
    config = p.state.definitions.config
    p.state.definitions.config = config.model_copy(update={"agents": config.agents.model_copy(update={"depth": 0})})
    assert refused_by(p, "lead") == ["depth: agents.depth is 0, and 0 levels are above a child"]


def test_the_quotas_of_a_persona_hold_below_it_whatever_the_agent_file(p: Played) -> None:
    p.session("lead", persona=persona(limits={"live_per_root": 2})[1])
    file, snapshot = persona("generous", limits={"live_per_root": 20})
    child = child_of(p, "lead", agent="generous", file=file, snapshot=snapshot)
    below = child_of(p, child.session_id, name="below")
    assert refused_by(p, below.session_id)[0].startswith("live_per_root: agents.live_per_root is 2")
    again = p.restart()
    settings = again.state.get(Session, below.session_id).settings
    assert settings["inherited"]["quotas"] == {"live_per_root": 2}
    again.index.close()


@pytest.mark.parametrize(
    ("file", "request_", "route"),
    [
        ({"model": "small"}, {}, "local/small"),
        ({"route": "other", "model": "small"}, {}, "other/small"),
        ({"route": "other/large", "model": "small"}, {}, "other/small"),
        ({"model": "small"}, {"model": "large"}, "local/large"),
        ({"route": "other", "model": "small"}, {"route": "local"}, "local"),
        ({}, {"route": "other", "model": "large"}, "other/large"),
    ],
)
def test_the_model_of_an_agent_file_is_that_of_all_runs_of_the_child(
    p: Played, file: dict[str, Any], request_: dict[str, Any], route: str
) -> None:
    p.route("other", script={"echo": True})
    p.session("lead", route="local")
    found, snapshot = persona("kind", **file)
    child = child_of(p, "lead", agent="kind", file=found, snapshot=snapshot, **request_)
    (first,) = p.state.table(Run, child.session_id).values()
    later = p.submit_run(session_id=child.session_id)
    for run in (first, later):
        assert "/".join(filter(None, (run.settings.route, run.settings.model))) == route


@pytest.mark.parametrize(
    ("above", "own", "left"),
    [(None, ["a"], ["a"]), (["a", "b"], None, ["a", "b"]), (["a", "b"], ["b", "c"], ["b"]), (["a"], ["c"], [])],
)
def test_the_skills_of_an_agent_file_only_narrow(
    p: Played, above: list[str] | None, own: list[str] | None, left: list[str]
) -> None:
    p.session("lead", persona=persona(skills=above)[1])
    file, snapshot = persona("kind", skills=own)
    child = child_of(p, "lead", agent="kind", file=file, snapshot=snapshot)
    assert p.state.get(Session, child.session_id).settings["persona"]["skills"] == left


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
