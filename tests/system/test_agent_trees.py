"""Trees of agents under kills, and under a budget that they share."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.daemon import Daemon, until
from tests.system.conftest import Fresh
from tests.system.test_agents import SPAWNING, TELL, WAIT, spawn, tree, use

MIDDLES = [f"m{number}" for number in range(6)]
LEAVES = ["a", "b", "c"]
TREE: dict[str, Any] = {
    "top": [spawn(*MIDDLES, route="middle"), WAIT, {"text": "all done"}],
    "middle": [spawn(*LEAVES, route="leaf"), WAIT, TELL],
    "leaf": [{"text": "thinking", "tool_calls": [use("bash", command="sleep 0.2")]}, {"text": "leaf done"}],
}


def journal(daemon: Daemon, session: str) -> Counter[str]:
    """How often each kind of entry is in the journal of a session."""
    kinds: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        page = daemon.client.sessions.journal(session, limit=200, cursor=cursor)
        kinds.update(line["kind"] for line in page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return kinds


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.campaign)])
@pytest.mark.demand(21)
def test_21_children_survive_kills(fresh: Fresh, kills: int) -> None:
    daemon = fresh(routes=TREE, permissions=SPAWNING, config={"agents": {"spawns_per_minute": 1000}})
    daemon.client.sessions.create("s", route="top")
    run = daemon.client.runs.start("s", "go")
    moments = random.Random(kills)
    for _ in range(kills):
        time.sleep(moments.uniform(0.05, 0.8))
        daemon.kill9()
        daemon.start()

    run = until(lambda: ended(daemon, run.run_id), 120, what="the whole tree has settled")

    assert run.status == "completed" and run.output == "all done", run.data
    agents = tree(daemon, "s")
    paths = [f"root/{name}" for name in MIDDLES] + [
        f"root/{name}/{leaf}" for name, leaf in itertools.product(MIDDLES, LEAVES)
    ]
    assert sorted(agents) == sorted(["root", *paths]) and len(agents) == 25, "no child twice"
    assert len(daemon.client.agents.list(closed=True, limit=200)["items"]) == 25
    assert {agents[path]["status"] for path in paths} == {"settled"}
    for path in ("root", *paths):
        kinds = journal(daemon, agents[path]["session_id"])
        assert kinds["agent.wait_opened"] == kinds["agent.wait_ended"], "no waiter is left"
        assert kinds["agent.settled"] == (path != "root") and kinds["agent.child_settled"] == agents[path]["children"]
    whole = agents["root"]["usage"]
    below = sum(agents[path]["usage"]["own"]["model_calls"] for path in paths)
    assert whole["subtree"]["model_calls"] == whole["own"]["model_calls"] + below


def ended(daemon: Daemon, run_id: str) -> Any:
    run = daemon.client.runs.get(run_id, wait="5s")
    return run if run.done else None


@pytest.mark.parametrize("down", [0.0, 1.0])
@pytest.mark.demand(21)
def test_21_a_result_reaches_a_parent_whose_daemon_was_dead(fresh: Fresh, down: float) -> None:
    """The child's command ends while no daemon runs, so that only the next one can learn of the child's end."""
    routes: dict[str, Any] = {
        "parent": [spawn("kid", route="works"), {"text": "I do not wait"}, {"text": "thanks"}],
        "works": [{"tool_calls": [use("shell_task_start", command="sleep 0.7; echo late")]}, {"text": "answered"}],
    }
    daemon = fresh(routes=routes, permissions=SPAWNING)
    daemon.client.sessions.create("s", route="parent")
    daemon.client.runs.start("s", "go", wait="20s")
    until(lambda: tree(daemon, "s").get("root/kid", {}).get("unfinished"), what="the child has answered")

    daemon.kill9()
    time.sleep(down)
    daemon.start()

    def delivered() -> Any:
        runs = daemon.client.runs.list(session="s")["items"]
        return [run for run in runs if run["kind"] == "mailbox_delivery" and run["finished_at"]]

    (run,) = until(delivered, what="one run with the result")
    assert "late" in "".join(item["text"] for item in run["request"]["items"])
    daemon.restart()
    assert len(daemon.client.runs.list(session="s")["items"]) == 2 and len(delivered()) == 1


def test_a_tree_shares_its_budget(fresh: Fresh) -> None:
    """Calls cost a cent each, and five children would make a hundred of them."""
    cheap = {"usage": {"input_tokens": 1000, "output_tokens": 0}}
    looks = {"tool_calls": [use("list_files", path=".")], "delay": "20ms", **cheap}
    price = {"price": {"input_per_mtok": 10.0, "output_per_mtok": 0.0}}
    routes: dict[str, Any] = {
        "parent": {
            "driver": "scripted",
            "script": {"turns": [{**spawn("a", "b", "c", "d", "e", route="child"), **cheap}, {**WAIT, **cheap}, TELL]},
            **price,
        },
        "child": {"driver": "scripted", "script": {"turns": [looks] * 20 + [{"text": "done", **cheap}]}, **price},
    }
    daemon = fresh(routes=routes, permissions=SPAWNING)
    daemon.client.sessions.create("s", route="parent")

    run = daemon.client.runs.start("s", "go", budget={"cost_usd": 0.10}, wait="60s")

    assert run.status == "waiting_for_approval", "the parent may ask for more"
    names = [f"root/{name}" for name in "abcde"]
    until(lambda: all(tree(daemon, "s")[name]["result"] for name in names), what="all children have ended")
    agents = tree(daemon, "s")
    cost = agents["root"]["usage"]["subtree"]["cost_usd"]
    assert 0.10 <= cost <= 0.10 + 5 * 0.01 + 1e-9, "at most one call each beyond it"
    children = [agents[f"root/{name}"] for name in "abcde"]
    assert {child["result"]["error"]["code"] for child in children} == {"budget_exceeded"}
    run = daemon.client.runs.get(run.run_id)
    own = sum(agent["usage"]["own"]["cost_usd"] or 0.0 for agent in agents.values())
    assert own == pytest.approx(cost) and run.data["usage"]["subtree"]["cost_usd"] == pytest.approx(cost)
