"""Agents that spawn agents, over a real daemon: results reach parents once, nothing settles early, a stop takes all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import AgentExists, Invalid, NotFound, ScopeTooWide, SessionNotIdle, SpawnQuota
from tests.support.daemon import Daemon, allow, git, until
from tests.system.conftest import COMMANDS

SPAWNING: dict[str, Any] = {
    "mode": "default",
    "rules": [
        *({"tool": "shell_task_start", "match": one, "decision": "allow"} for one in COMMANDS),
        *allow(*COMMANDS)["rules"],
    ],
}


def use(tool: str, **arguments: Any) -> dict[str, Any]:
    """A call of a tool, whatever its arguments are called."""
    return {"name": tool, "arguments": arguments}


def spawn(*names: str, route: str = "kid", **more: Any) -> dict[str, Any]:
    """A turn that spawns children."""
    calls = [use("spawn_agent", **{"name": name, "prompt": f"I am {name}", "route": route, **more}) for name in names]
    return {"tool_calls": calls}


WAIT = {"tool_calls": [use("wait_agent")]}
TELL = {"text": "{{last_result}}"}
ROUTES: dict[str, Any] = {
    "kid": [{"text": "kid says {{input}}", "delay": "50ms"}],
    "slow": [{"tool_calls": [use("bash", command="sleep 60")]}, TELL],
    "parent": [spawn("one", "two"), WAIT, TELL],
    "commands": [{"tool_calls": [use("shell_task_start", command="sleep 1; echo late")]}, {"text": "answered"}],
    "waits": [spawn("worker", route="commands"), WAIT, TELL],
    "early": [spawn("worker", route="commands"), {"tool_calls": [use("wait_agent", until="answer")]}, TELL],
    "middle": [spawn("leaf", "leaf2", route="slow"), WAIT, TELL],
    "top": [spawn("branch", route="middle"), WAIT, TELL],
    "impatient": [spawn("sleeper", route="slow"), {"tool_calls": [use("wait_agent", timeout="300ms")]}, TELL],
    "writes": [{"tool_calls": [use("write_file", path="new.txt", content="{{input}}")]}, {"text": "written"}],
    "idle": [{"text": "ready"}],
    "echo": {"driver": "scripted", "script": {"echo": True}},
    "leaves": [spawn("kid", route="late"), {"text": "I do not wait"}, {"text": "heard: {{input}}"}],
    "late": [{"text": "my result", "delay": "400ms"}],
    "busy": [
        spawn("kid", route="kid"),
        {"tool_calls": [use("bash", command="sleep 1")]},
        {"tool_calls": [use("bash", command="echo seen")]},
        {"text": "done"},
    ],
    "unsure": [
        {"tool_calls": [use("request_parent_clarification", question="tabs or spaces?")]},
        {"text": "I use: {{last_result}}"},
    ],
    "hurried": [{"tool_calls": [use("request_parent_clarification", question="?", timeout="200ms")]}, TELL],
    "fails": [{"error": {"status": 400}}],
    "thinks": [{"text": "spaces", "delay": "1s"}],
    "decides": [spawn("kid", route="unsure"), WAIT, TELL],
    "asks": [spawn("kid", route="kid"), {"tool_calls": [use("bash", command="id -u")]}, {"text": "done"}],
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("agents")
    config = {"agents": {"spawns_per_minute": 1000}}
    with Daemon.fresh(folder, routes=ROUTES, permissions=SPAWNING, config=config) as made:
        yield made


def tree(daemon: Daemon, session: str) -> dict[str, Any]:
    """The agents below a session's own, by path."""
    root = daemon.client.sessions.get(session)["agent_id"]
    page = daemon.client.agents.list(root=root, closed=True, limit=200)
    return {agent["path"]: agent for agent in page["items"]}


def newest(daemon: Daemon, session: str) -> int:
    """The newest event of the sessions of a tree."""
    return max(daemon.client.sessions.get(one["session_id"])["last_n"] for one in tree(daemon, session).values())


def root(daemon: Daemon, session: str, route: str = "idle", **settings: Any) -> str:
    """Make a session; return its agent."""
    return daemon.client.sessions.create(session, route=route, **settings)["agent_id"]


@pytest.mark.demand(21)
def test_21_a_parent_that_waits_gets_the_results_of_its_children(daemon: Daemon) -> None:
    root(daemon, "waits-both", "parent")

    run = daemon.client.runs.start("waits-both", "go", wait="30s")

    assert run.status == "completed" and run.output is not None, run.data
    assert "kid says I am one" in run.output and "kid says I am two" in run.output
    agents = tree(daemon, "waits-both")
    assert sorted(agents) == ["root", "root/one", "root/two"]
    for name in ("one", "two"):
        child = agents[f"root/{name}"]
        assert (child["status"], child["waiting_on"], child["unfinished"]) == ("settled", None, [])
        assert child["result"]["output"] == f"kid says I am {name}" and child["spawned_by_run"] == run.run_id


@pytest.mark.demand(21)
def test_21_a_child_has_not_settled_while_its_command_runs(daemon: Daemon) -> None:
    root(daemon, "late", "waits")
    run = daemon.client.runs.start("late", "go")

    def answered() -> Any:
        child = tree(daemon, "late").get("root/worker")
        return child if child and child["unfinished"] else None

    child = until(answered, what="the child has answered")
    assert (child["status"], child["waiting_on"], child["unfinished"][0]["kind"]) == ("waiting", "task", "task")
    assert child["result"] is None and child["settled_at"] is None
    run = daemon.client.runs.get(run.run_id, wait="30s")
    assert run.status == "completed" and "answered" in str(run.output) and "late" in str(run.output)
    child = tree(daemon, "late")["root/worker"]
    assert child["status"] == "settled" and child["result"]["output"].endswith("late")


def results(daemon: Daemon, session: str) -> list[dict[str, Any]]:
    """The results of children in the mailbox of a session."""
    page = daemon.client.mailbox.list(daemon.client.sessions.get(session)["agent_id"])
    return [dict(one) for one in page["items"] if one["type"] == "agent_result"]


@pytest.mark.demand(21)
def test_21_an_idle_parent_gets_one_run_with_the_result(daemon: Daemon) -> None:
    root(daemon, "idle-parent", "leaves")
    first = daemon.client.runs.start("idle-parent", "go", wait="20s")
    assert first.output == "I do not wait"

    def delivered() -> Any:
        runs = daemon.client.runs.list(session="idle-parent")["items"]
        return [run for run in runs if run["kind"] == "mailbox_delivery" and run["status"] == "completed"]

    (run,) = until(delivered, what="a run with the result")
    assert "my result" in "".join(item["text"] for item in run["request"]["items"])
    (message,) = results(daemon, "idle-parent")
    assert (message["state"], message["run_id"], message["from_name"]) == ("acked", run["run_id"], "root/kid")
    assert len(daemon.client.runs.list(session="idle-parent")["items"]) == 2


@pytest.mark.demand(21)
def test_21_a_busy_parent_sees_the_result_at_its_next_turn(daemon: Daemon) -> None:
    root(daemon, "busy-parent", "busy")
    run = daemon.client.runs.start("busy-parent", "go", wait="30s")
    assert run.status == "completed"
    (message,) = results(daemon, "busy-parent")
    assert (message["state"], message["run_id"]) == ("acked", run.run_id)
    assert len(daemon.client.runs.list(session="busy-parent")["items"]) == 1


@pytest.mark.demand(21)
def test_21_a_parent_that_waits_for_an_approval_gets_the_result_then(daemon: Daemon) -> None:
    root(daemon, "asking-parent", "asks")
    run = daemon.client.runs.start("asking-parent", "go", wait="30s")
    assert run.status == "waiting_for_approval"
    until(lambda: results(daemon, "asking-parent"), what="the child has settled")
    daemon.client.approvals.allow(run.waits_for[0][0])
    run = daemon.client.runs.get(run.run_id, wait="30s")
    assert run.status == "completed"
    until(lambda: results(daemon, "asking-parent")[0]["state"] == "acked")
    runs = daemon.client.runs.list(session="asking-parent")["items"]
    assert len(runs) == 1 and results(daemon, "asking-parent")[0]["run_id"] == run.run_id


def test_a_message_resumes_a_settled_child(daemon: Daemon) -> None:
    agent = root(daemon, "resumed", "echo")
    child = daemon.client.agents.spawn(agent, "kid", prompt="first", route="echo")["agent_id"]
    first = until(lambda: settled(daemon, child), what="it settles")
    until(lambda: len(results(daemon, "resumed")) == 1)
    daemon.client.mailbox.post(child, "second")
    second = until(lambda: settled(daemon, child, after=first["n"]), what="it settles again")
    assert "second" in second["result"]["output"]
    assert second["usage"]["own"]["model_calls"] == 2
    until(lambda: len(results(daemon, "resumed")) == 2, what="each end is told")
    top = daemon.client.agents.get(agent)
    assert top["usage"]["subtree"]["model_calls"] == top["usage"]["own"]["model_calls"] + 2, "nothing counts twice"


def settled(daemon: Daemon, agent_id: str, after: int = 0) -> Any:
    agent = daemon.client.agents.get(agent_id)
    return agent if agent["status"] == "settled" and agent["n"] > after else None


def test_a_wait_for_the_answer_is_marked(daemon: Daemon) -> None:
    root(daemon, "early", "early")
    run = daemon.client.runs.start("early", "go", wait="30s")
    assert run.status == "completed" and "answered" in str(run.output) and "unfinished: task" in str(run.output)


def test_a_wait_ends_with_its_time(daemon: Daemon) -> None:
    root(daemon, "impatient", "impatient")
    run = daemon.client.runs.start("impatient", "go", wait="30s")
    assert run.status == "completed" and "time of the wait is over" in str(run.output)
    assert tree(daemon, "impatient")["root/sleeper"]["status"] == "running"
    daemon.client.agents.close(daemon.client.sessions.get("impatient")["agent_id"])


@pytest.mark.demand(22)
def test_22_a_cancelled_run_takes_its_tree_with_it(daemon: Daemon) -> None:
    root(daemon, "tree", "top")
    run = daemon.client.runs.start("tree", "go")
    leaves = ("root/branch/leaf", "root/branch/leaf2")

    def at_work() -> bool:
        agents = tree(daemon, "tree")
        return all(path in agents and agents[path]["usage"]["own"]["tool_calls"] for path in leaves)

    until(at_work, what="two commands run")

    begun = time.monotonic()
    answer: Any = daemon.client.runs.cancel(run.run_id)

    agents = tree(daemon, "tree")
    assert len(answer["stopped"]["runs"]) == 4 and answer["stopped"]["runs"][-1] == run.run_id
    ids = [agents[path]["agent_id"] for path in ("root/branch/leaf", "root/branch/leaf2", "root/branch")]
    assert answer["stopped"]["agents"] == ids, "the innermost first"
    until(lambda: not daemon.jobs(), 10, what="all commands have ended")
    statuses = ["root/branch", "root/branch/leaf", "root/branch/leaf2"]
    until(lambda: all(tree(daemon, "tree")[path]["status"] == "cancelled" for path in statuses), 10)
    assert time.monotonic() - begun < 10, "within two seconds, and what a busy machine adds"
    top = tree(daemon, "tree")["root"]
    assert top["status"] == "idle" and top["usage"]["subtree"]["model_calls"] > top["usage"]["own"]["model_calls"]
    quiet = newest(daemon, "tree")
    time.sleep(0.3)
    assert newest(daemon, "tree") == quiet, "nothing is journaled afterwards"


def test_a_child_may_only_narrow(daemon: Daemon) -> None:
    scope = {"allow": ["read_*", "spawn_agent", "grep_search"], "deny": ["read_secret"]}
    agent = root(daemon, "narrow", capability_scope=scope)
    for wide, place in (
        ({"permission_mode": "bypass"}, "/permission_mode"),
        ({"permission_mode": "accept_edits"}, "/permission_mode"),
        ({"tools": {"allow": ["bash"], "deny": []}}, "/tools/allow/0"),
        ({"capability_scope": {"allow": ["read_file", "write_file"]}}, "/capability_scope/allow/1"),
        ({"cwd": "../.."}, "/cwd"),
    ):
        for ask in (daemon.client.agents.spawn, daemon.client.agents.explain):
            with pytest.raises(ScopeTooWide) as refused:
                ask(agent, "wide", prompt="x", **wide)  # type: ignore[arg-type]
            assert [fault.path for fault in refused.value.errors] == [place]
    made = daemon.client.agents.spawn(agent, "small", prompt="x", tools={"allow": ["write_*", "grep_search"]})
    run = until(lambda: daemon.client.runs.list(session=made["session_id"])["items"][0])
    left = run["settings"]["capability_scope"]
    assert [one["allow"] for one in left] == [scope["allow"], ["write_*", "grep_search"]], "lists intersect"


def test_a_folder_that_cannot_be_is_refused(daemon: Daemon) -> None:
    agent = root(daemon, "folders")
    for cwd in ("missing", "a\0b", "x" * 4000):
        with pytest.raises(Invalid, match="no folder of the parent's workspace"):
            daemon.client.agents.spawn(agent, "kid", prompt="x", cwd=cwd)


def test_the_same_request_gives_the_same_child(daemon: Daemon) -> None:
    agent = root(daemon, "same")
    first = daemon.client.agents.spawn(agent, "kid", prompt="x", spawn_request_id="one")
    again = daemon.client.agents.spawn(agent, "kid", prompt="x", spawn_request_id="one")
    assert first["agent_id"] == again["agent_id"] and first["spawn_request_id"] == "one"
    with pytest.raises(AgentExists):
        daemon.client.agents.spawn(agent, "kid", prompt="x")


def test_quotas_refuse_and_are_shown(daemon: Daemon) -> None:
    agent = root(daemon, "quotas")
    for number in range(6):
        daemon.client.agents.spawn(agent, f"kid{number}", prompt="x", route="slow")
    with pytest.raises(SpawnQuota) as refused:
        daemon.client.agents.explain(agent, "seventh", prompt="x")
    assert [fault.path for fault in refused.value.errors] == ["/agents/live_per_parent"]
    shown = {quota["name"]: quota for quota in daemon.client.agents.quotas(session="quotas")["quotas"]}
    assert (shown["live_per_parent"]["used"], shown["live_per_parent"]["limit"]) == (6, 6)
    done = daemon.client.agents.close(agent, reason="enough")
    assert len(done["closed"]) == 7 and len(done["cancelled_runs"]) == 6
    until(lambda: {one["status"] for one in tree(daemon, "quotas").values()} == {"closed"}, what="all are closed")


def test_the_command_line(daemon: Daemon) -> None:
    agent = root(daemon, "lines")
    made = daemon.cli("agents", "spawn", agent, "say it", "--name", "reviewer", "--route", "kid", "--quiet")
    assert made.returncode == 0, made.stderr
    child = made.stdout.strip()
    until(lambda: daemon.client.agents.get(child)["status"] == "settled")
    shown = daemon.cli("agents", "tree", agent).stdout
    assert "reviewer  settled" in shown and child in shown
    assert child in daemon.cli("agents", "list", "--parent", agent, "--quiet").stdout
    wide = daemon.cli("agents", "explain", agent, "x", "--name", "y", "--permission-mode", "accept_edits")
    assert wide.returncode == 7 and "may only narrow" in wide.stderr
    assert "Closed: " + child in daemon.cli("agents", "close", child).stdout


def test_a_child_asks_its_parent_which_waits_for_it(daemon: Daemon) -> None:
    """The parent's run has given way, so that a run of its own answers; that run takes the session's route."""
    daemon.client.sessions.create("clarify", route="echo")
    run = daemon.client.runs.start("clarify", "go", route="decides", wait="30s")
    assert run.status == "completed" and "The parent answered:" in str(run.output), run.data
    assert "tabs or spaces?" in str(run.output), "the echo of the parent"
    kinds = {one["kind"]: one["status"] for one in daemon.client.runs.list(session="clarify")["items"]}
    assert kinds == {"input": "completed", "parent_clarification": "completed"}


def test_each_end_of_a_clarification_is_told(daemon: Daemon) -> None:
    told = {
        "declined": "The parent declined to answer.",
        "expired": "The time for an answer is over.",
        "interrupted": "The parent was interrupted before it answered.",
        "cancelled": "The question was cancelled.",
    }
    routes = {"declined": ("fails", "unsure"), "expired": ("slow", "hurried"), "interrupted": ("thinks", "unsure")}
    kids = {}
    for name in told:
        above, below = routes.get(name, ("slow", "unsure"))
        agent = root(daemon, f"unclear-{name}", above)
        kids[name] = daemon.client.agents.spawn(agent, "kid", prompt="go", route=below)["agent_id"]

    def asked(session: str) -> Any:
        runs = daemon.client.runs.list(session=session, kind="parent_clarification")["items"]
        return runs[0] if runs and runs[0]["status"] == "running" else None

    until(lambda: asked("unclear-interrupted"), what="the question")
    daemon.client.sessions.interrupt("unclear-interrupted")
    daemon.client.runs.cancel(until(lambda: asked("unclear-cancelled"), what="the question")["run_id"])
    for name, words in told.items():
        kid = until(lambda name=name: settled(daemon, kids[name]), what=f"{name} is told")  # type: ignore[misc]
        assert words in kid["result"]["output"], name


@pytest.mark.parametrize(("context", "seen"), [("none", 0), ("last:2", 1), ("all", 2)])
def test_a_child_begins_with_a_part_of_its_parents_conversation(daemon: Daemon, context: str, seen: int) -> None:
    session = f"context-{context.replace(':', '')}"
    agent = root(daemon, session, "echo")
    for text in ("the first word", "the second word"):
        daemon.client.runs.start(session, text, wait="20s")
    child = daemon.client.agents.spawn(agent, "kid", prompt="and now?", context=context)
    until(lambda: settled(daemon, child["agent_id"]))
    talk = daemon.client.sessions.journal(child["session_id"])["items"]
    opened = talk[0]["data"]
    assert talk[0]["kind"] == ("session.created" if context == "none" else "session.forked")
    if seen:
        folder = daemon.root / opened["path"] / "forked"
        history = "".join(path.read_text() for path in folder.iterdir())
        assert ("the second word" in history) and ("the first word" in history) == (seen == 2)
    before = daemon.client.runs.list(session=child["session_id"])["items"][0]["usage"]["input_tokens"]
    assert before > 0


def test_agent_files_of_a_workspace_only_narrow(daemon: Daemon) -> None:
    folder = daemon.workspace / ".claude" / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    front = (
        "name: checker\ndescription: Checks.\ntools: Read, Grep, Bash\npermissionMode: bypassPermissions\ncolor: red"
    )
    (folder / "checker.md").write_text(f"---\n{front}\n---\nYou check things.\n")
    agent = root(daemon, "files", permission_mode="dont_ask")
    explained = daemon.client.agents.explain(agent, "one", prompt="x", agent="checker")
    assert (explained["permission_mode"], explained["persona"]) == ("dont_ask", "checker")
    allowed = [scope["allow"] for scope in explained["capability_scope"]]
    assert allowed == [["read_file", "list_files", "grep_search", "bash", "shell_task_start"]]
    made = daemon.client.agents.spawn(agent, "one", prompt="x", agent="checker", route="echo")
    persona = daemon.client.sessions.get(made["session_id"])["persona"]
    assert persona is not None and persona["body"] == "You check things." and made["agent"] == "checker"
    planning = daemon.client.agents.explain(agent, "two", prompt="x", agent="plan")
    assert planning["permission_mode"] == "plan", "the profiles lie in each state root"
    with pytest.raises(NotFound):
        daemon.client.agents.explain(agent, "three", prompt="x", agent="nothing-like-it")
    with pytest.raises(Invalid):
        daemon.client.agents.explain(agent, "four", prompt="x", agent="../../etc/passwd")


@pytest.mark.demand(23)
def test_a_childs_work_is_found_on_its_branch(daemon: Daemon) -> None:
    repository = daemon.workspace / "repository"
    repository.mkdir()
    (repository / "a.txt").write_text("one\n")
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "base")
    agent = root(daemon, "trees", workspace=str(repository))
    child = daemon.client.agents.spawn(agent, "kid", prompt="two", route="writes", isolation="worktree")
    assert child["isolation"] == "worktree" and child["worktree"] is not None
    done = until(lambda: settled(daemon, child["agent_id"]))
    assert done["worktree"]["state"] == "committed" and (repository / "a.txt").read_text() == "one\n"
    assert git(repository, "show", f"{done['worktree']['branch']}:new.txt") == "two"
    assert "new.txt" in daemon.cli("agents", "diff", child["agent_id"]).stdout
    assert child["agent_id"] in daemon.cli("agents", "worktrees").stdout
    merged = daemon.cli("agents", "merge", child["agent_id"])
    assert merged.returncode == 0 and (repository / "new.txt").read_text() == "two", merged.stderr
    assert not daemon.client.agents.worktrees()["items"]
    orphan = Path(child["worktree"]["path"]).parent / "agent_01m8jfw0kaeyfh6rp7aarhhb1e"
    orphan.mkdir()
    (orphan / "work.txt").write_text("of an agent whose spawn was cut off")
    daemon.restart()
    (row,) = daemon.client.agents.worktrees()["items"]
    assert (row["orphan"], row["path"], row["agent_id"]) == (True, str(orphan), None)
    assert f"{orphan.name} has no agent" in daemon.stderr() and (orphan / "work.txt").exists()
    shutil.rmtree(orphan)
    plain = root(daemon, "plain")
    with pytest.raises(Invalid):
        daemon.client.agents.spawn(plain, "kid", prompt="x", isolation="worktree")


def test_a_child_ends_with_its_time_and_one_is_closed_when_it_has_settled(daemon: Daemon) -> None:
    agent = root(daemon, "times")
    late = daemon.client.agents.spawn(agent, "late", prompt="x", route="slow", timeout="500ms")
    short = daemon.client.agents.spawn(agent, "short", prompt="x", route="echo", retention="close_on_settle")
    for made, status in ((late, "failed"), (short, "closed")):
        until(lambda made=made, status=status: daemon.client.agents.get(made["agent_id"])["status"] == status)  # type: ignore[misc]
    failed, closed = (daemon.client.agents.get(made["agent_id"]) for made in (late, short))
    assert failed["result"]["error"]["code"] == "timeout" and closed["result"]["output"] == "x"
    assert daemon.client.sessions.get(short["session_id"])["status"] == "ended"
    assert short["agent_id"] not in [one["agent_id"] for one in daemon.client.agents.list(parent=agent)["items"]]


@pytest.mark.demand(22)
def test_a_session_ends_with_its_agents(daemon: Daemon) -> None:
    agent = root(daemon, "ending")
    child = daemon.client.agents.spawn(agent, "kid", prompt="x", route="slow")
    with pytest.raises(SessionNotIdle):
        daemon.client.sessions.end("ending")
    daemon.client.sessions.end("ending", force=True)
    until(lambda: daemon.client.agents.get(child["agent_id"])["status"] == "cancelled")
    assert daemon.client.agents.get(agent)["status"] == "closed"
