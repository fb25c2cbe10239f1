"""Both clients read the same from a real daemon, by every operation that reads."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kheish.api.operations import OPERATIONS
from kheish.client import AsyncKheish, AsyncRun, Run
from kheish.errors import KheishError
from kheish.generate.client.methods import Method, derived
from kheish.generate.client.shapes import Shapes
from tests.support.daemon import Daemon, ask, bash
from tests.support.released import release

ROUTES: dict[str, Any] = {
    "works": [{"text": "done"}],
    "asks": [ask(), {"text": "answered"}],
    "needs": [bash("id -u"), {"text": "allowed"}],
}
PLAYBOOK = {"title": "One", "objective": "o", "phases": [{"id": "only", "acceptance": [{"command": "true"}]}]}
#: what differs between two requests: only the kinds of values are compared
MOVING = {"status", "metrics", "logs", "audit.list"}
#: what there is none of
NONE = {"agents.worktree", "channels.proposal", "memory.proposal", "access.login"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("twins"), routes=ROUTES, config={"default_route": "works"}) as daemon:
        yield daemon


def filled(daemon: Daemon) -> dict[str, str]:
    """Make one of everything, and return the arguments that name it."""
    client = daemon.client
    client.sessions.create("s", route="works")
    run = client.runs.start("s", "go", wait="20s", debug="redacted")
    client.sessions.create("asks", route="asks")
    (question,) = client.runs.start("asks", "go", wait="20s").data["pending_questions"]
    client.sessions.create("needs", route="needs")
    (approval,) = client.runs.start("needs", "go", wait="20s").data["pending_approvals"]
    release(daemon, "one", PLAYBOOK)
    flow = client.flows.start("one", wait="20s")
    client.secrets.put("deploy", "a-value")
    client.tokens.create("ann", "reader")
    client.schedules.put("one", {"cron": "0 0 1 1 *", "start": {"session": "s", "input": {"content": "go"}}})
    client.mcp.put("one", {"command": "true", "sandbox": "off"})
    client.hooks.put("one", {"events": ["Stop"], "command": "true"})
    client.connectors.put("two", {"kind": "http", "verify": {"scheme": "bearer"}, "session": {"new": {}}})
    client.outputs.put("one", {"kind": "command", "command": "exit 65"})
    sent = client.runs.start("s", "go", wait="20s", reply_targets=[{"output": "one"}])
    (delivery,) = client.deliveries.list(run_id=sent.run_id)["items"]
    client.definitions("projects").put("one", {})
    client.projects.create_task("one", "t", task_id="in-one")
    client.channels.put("one", {"title": "One"})
    client.channels.post("one", "hello", message_id="m1")
    client.goals.put("s", "go on")
    client.prompt.put("Be brief.")
    client.skills.put("one", "---\nname: one\ndescription: One.\n---\nDo it.\n")
    client.memory.put("shared", "-", "a.md", "A note.")
    agent = run.data["agent_id"]
    asset = client.assets.create("a.txt", "YQ==")["asset_id"]
    client.sources.put("one", {})
    [seen] = client.observations.create("one", [{"text": "x"}])["items"]
    return {
        "session_id": "s", "session": "s", "run_id": run.run_id, "approval_id": approval, "question_id": question,
        "words": "go", "flow_id": flow["flow_id"], "name": "one", "version": "1.0.0", "slot": "deploy",
        "id": "session:s", "path": "routes/works.yaml", "agent_id": agent, "agent": agent,
        "message": client.mailbox.post(agent, "hello")["message_id"], "task": client.tasks.create("s", "t")["task_id"],
        "project": "one", "skill": "one", "scope": "shared", "owner": "-", "proposal_id": "prop_none",
        "message_id": "m1", "thread": "m1", "server": "one", "asset_id": asset, "hook": "one", "output": "one",
        "delivery_id": delivery["delivery_id"], "account": "none",
        "source": "one", "observation_id": seen["observation_id"],
        "artifact": "turn-0001-attempt-0001-prompt",
    }  # fmt: skip


def of(client: Any, method: Method) -> Callable[..., Any]:
    """The method of a client."""
    space = client
    if method.namespace:
        space = getattr(client, method.namespace)
        space = space("playbooks") if method.namespace == "definitions" else space
    found: Callable[..., Any] = getattr(space, method.name)
    return found


def called(method: Method, names: dict[str, str]) -> dict[str, str]:
    """The required arguments of a method."""
    arguments = {one.name: names[one.name] for one in method.arguments if one.default is None and one.field != "kind"}
    others = {
        "trust": {"name": "one@1.0.0"},
        "memory": {"path": "a.md"},
        "projects": {"task": "in-one"},
        "connectors": {"name": "two"},
    }.get(method.namespace, {})
    return {key: others.get(key, value) for key, value in arguments.items()}


def plain(value: Any) -> Any:
    return value.data if isinstance(value, Run | AsyncRun) else value


def kinds(value: Any) -> Any:
    """The keys and types of a value that moves."""
    return {key: type(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value)


async def test_both_twins_read_the_same(daemon: Daemon) -> None:
    names = filled(daemon)
    daemon.quiet()
    reads = [one for one in derived(OPERATIONS, Shapes.of(OPERATIONS)) if one.operation.method == "GET"]
    assert len(reads) > 50
    async with AsyncKheish(url=daemon.client.url, state_root=daemon.root) as other:
        for method in reads:
            arguments, name = called(method, names), f"{method.namespace}.{method.name}".strip(".")
            if method.is_stream:
                one = [event.raw for event in itertools.islice(of(daemon.client, method)(**arguments, after=0), 3)]
                stream = of(other, method)(**arguments, after=0)
                two = [(await anext(stream)).raw for _ in range(3)]
                await stream.aclose()
                assert one == two, name
                continue
            if name in NONE:
                with pytest.raises(KheishError) as missing:
                    of(daemon.client, method)(**arguments)
                with pytest.raises(type(missing.value), match=re.escape(str(missing.value))):
                    await of(other, method)(**arguments)
                continue
            for _ in range(5):  # a commit may land between two reads
                found, same = plain(of(daemon.client, method)(**arguments)), plain(await of(other, method)(**arguments))
                if name in MOVING:
                    found, same = kinds(found), kinds(same)
                if found == same:
                    break
            assert found == same, name
        assert await other.address() == daemon.client.url
        past = [event.raw async for event in other.past_events(session="s")]
        silent = [event async for event in other.past_events(session="s", kind="flow.sealed", quiet=0.2)]
    assert silent == [*daemon.client.past_events(session="s", kind="flow.sealed", quiet=0.2)] == []
    assert past and past == [event.raw for event in daemon.client.past_events(session="s")]


async def test_both_twins_act_alike(daemon: Daemon) -> None:
    async with AsyncKheish(state_root=daemon.root) as client:
        session = await client.sessions.create("a", labels={"team": "x"})
        assert await client.sessions.patch("a", labels=None, title="new") == {
            **session, "labels": {}, "title": "new", "last_n": (await client.sessions.get("a"))["last_n"],
        }  # fmt: skip
        run = await client.runs.start("a", "go", wait="20s", metadata={"x": 1})
        assert (run.output, run.data["request"]["metadata"]) == ("done", {"x": 1})
        again = await client.secrets.put("robot", "value", "of the robot")
        assert again == daemon.client.secrets.get("robot")
        token = await client.tokens.create("bob", "reader", sessions=["a"])
        async with AsyncKheish(url=daemon.url, token=token["token"]) as reader:
            assert (await reader.login.who())["sessions"] == ["a"]
        link = await client.login.link()
        assert link["url"].startswith(f"{daemon.client.url}/login")
        assert (await client.state("gc")) is not None
        listed = await client.runs.list(status=["completed", "failed"], session="a")
        assert [one["run_id"] for one in listed["items"]] == [run.run_id]
        await client.secrets.remove("robot")
        assert "robot" not in [one["slot"] for one in (await client.secrets.list())["items"]]
