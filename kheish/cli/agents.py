"""`kheish agents`: list, tree, show, spawn, explain, close, message; and their worktrees."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, group, page_options, pass_settings, worker_option
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, when
from kheish.cli.run import MODES

Command = TypeVar("Command", bound=Callable[..., Any])


def _standing(agent: Any) -> str:
    return f"{agent['status']} ({agent['waiting_on']})" if agent["waiting_on"] else str(agent["status"])


COLUMNS: list[Column] = [
    ("AGENT", "agent_id"),
    ("PATH", "path"),
    ("STATUS", _standing),
    ("SPAWNED", lambda agent: when(agent["spawned_at"])),
    ("SESSION", "session_id"),
]


@group()
def agents() -> None:
    """List, spawn and close agents."""


@agents.command("list")
@click.option("--root", type=Id("agent"), help="Only agents of the tree below this agent, and itself.")
@click.option("--parent", type=Id("agent"), help="Only children of this agent.")
@click.option("--session", type=Id("session"), help="Only the agent of this session.")
@click.option("--status", help="Only agents with this status, such as running.")
@click.option("--closed", is_flag=True, help="Also list closed agents.")
@page_options
@pass_settings
def list_(settings: Settings, /, closed: bool, limit: int | None, cursor: str | None, **filters: Any) -> None:
    """List agents, newest first."""
    page = settings.client().agents.list(closed=closed or None, limit=limit, cursor=cursor, **filters)
    listing(settings, page, "agent_id", COLUMNS, fitting("No agents.", filters["status"]))


@agents.command()
@click.argument("agent", type=Id("agent"))
@pass_settings
def show(settings: Settings, agent: str) -> None:
    """Show an agent."""
    found = settings.client().agents.get(agent)
    emit(settings, found, ids=[agent], human=lambda: details(found))


@agents.command()
@click.argument("agent", type=Id("agent"))
@pass_settings
def tree(settings: Settings, agent: str) -> None:
    """Show an agent and all agents below it."""
    top: Any = settings.client().agents.tree(agent)
    lines = list(_lines(top, 0))
    emit(settings, top, ids=[id for id, _ in lines], human=lambda: say("\n".join(plain(text) for _, text in lines)))


def _lines(node: Any, level: int) -> Any:
    agent = node["agent"]
    cost = agent["usage"]["subtree"]["cost_usd"]
    spent = f"  ${cost:.4f}" if cost is not None else ""
    yield agent["agent_id"], f"{'  ' * level}{agent['name']}  {_standing(agent)}  {agent['agent_id']}{spent}"
    for child in node["children"]:
        yield from _lines(child, level + 1)


def _spawning(function: Command) -> Command:
    """Add the options of a spawn."""
    for option in (
        click.option("--request-id", "spawn_request_id", help="The same id gives the same agent."),
        click.option("--detached", is_flag=True, default=None, help="It continues if its parent's run is cancelled."),
        click.option("--timeout", help="Stop its work after this time, such as 15m."),
        click.option("--cwd", help="Its folder, in its parent's workspace."),
        click.option("--isolation", type=click.Choice(["shared", "worktree"]), help="worktree: a git worktree."),
        click.option("--cost-usd", type=float, help="The US dollars that it may use."),
        click.option("--tokens", type=int, help="The tokens that it may use."),
        click.option("--deny-tool", multiple=True, metavar="GLOB", help="Tools that it lacks."),
        click.option("--allow-tool", multiple=True, metavar="GLOB", help="Its only tools."),
        click.option("--permission-mode", type=click.Choice(MODES), help="At most its parent's."),
        click.option("--route", type=Name("routes"), help="The route to a model; by default its parent's."),
        click.option("--context", help="Messages that it begins with: none, last:N or all."),
        click.option("--instructions", help="Instructions besides those of its agent file."),
        click.option("--agent", "file", metavar="FILE", help="The agent file to make it from."),
        click.option("--name", required=True, help="Its name, unique among its parent's children."),
        click.argument("prompt"),
        click.argument("parent", type=Id("agent")),
    ):
        function = option(function)
    return function


@agents.command()
@_spawning
@worker_option
@pass_settings
def spawn(settings: Settings, /, parent: str, **given: Any) -> None:
    """Spawn an agent below PARENT, with a task."""
    made = settings.client().agents.spawn(parent, **_request(given))
    emit(settings, made, ids=[made["agent_id"]], human=lambda: say(f"{made['path']} ({made['agent_id']}) is at work."))


@agents.command()
@_spawning
@worker_option
@pass_settings
def explain(settings: Settings, /, parent: str, **given: Any) -> None:
    """Show what a spawn would create, or why it would be refused; nothing is done."""
    found = settings.client().agents.explain(parent, **_request(given))
    emit(settings, found, ids=[found["path"]], human=lambda: details(found))


def _request(given: dict[str, Any]) -> Any:
    """Return the given options as a request for a child."""
    allow, deny = list(given.pop("allow_tool")), list(given.pop("deny_tool"))
    budget = {name: value for name in ("tokens", "cost_usd") if (value := given.pop(name)) is not None}
    instructions = given.pop("instructions")
    fields = {"agent" if name == "file" else name: value for name, value in given.items() if value is not None}
    if allow or deny:
        fields["tools"] = {"allow": allow or None, "deny": deny}
    if budget:
        fields["budget"] = budget
    if instructions is not None:
        fields["instructions"] = {"mode": "append", "text": instructions}
    return fields


@agents.command()
@click.argument("agent", type=Id("agent"))
@click.option("--no-cascade", is_flag=True, help="Fail if it has live children, instead of closing them.")
@click.option("--reason", help="The reason, for the journal.")
@pass_settings
def close(settings: Settings, agent: str, no_cascade: bool, reason: str | None) -> None:
    """Close an agent for good, and all agents below it."""
    done = settings.client().agents.close(agent, cascade=not no_cascade, reason=reason)
    told = (
        f"Closed: {', '.join(done['closed']) or 'none'}. Runs stopped: {', '.join(done['cancelled_runs']) or 'none'}."
    )
    emit(settings, done, ids=done["closed"], human=lambda: say(told))


@agents.command()
@click.argument("agent", type=Id("agent"))
@click.argument("text")
@pass_settings
def message(settings: Settings, agent: str, text: str) -> None:
    """Send TEXT to an agent; one that has settled resumes its work."""
    posted = settings.client().mailbox.post(agent, text)
    emit(
        settings, posted, ids=[posted["message_id"]], human=lambda: say(f"{posted['message_id']} is {posted['state']}.")
    )


TREES: list[Column] = [
    ("AGENT", lambda tree: tree["agent_id"] or "(orphan)"),
    ("STATE", lambda tree: "orphan" if tree["orphan"] else tree["state"] or "in use"),
    ("BRANCH", lambda tree: tree["branch"] or ""),
    ("PATH", "path"),
]


@agents.command()
@pass_settings
def worktrees(settings: Settings) -> None:
    """List the git worktrees of agents, and orphans, which nothing removes."""
    listing(settings, settings.client().agents.worktrees(), "path", TREES, "No worktrees.")


@agents.command()
@click.argument("agent", type=Id("agent"))
@pass_settings
def diff(settings: Settings, agent: str) -> None:
    """Show the changes in an agent's worktree, or on its branch."""
    tree = settings.client().agents.worktree(agent)
    emit(settings, tree, ids=[tree["branch"]], human=lambda: say(plain(tree["diff"].rstrip("\n") or "No changes.")))


@agents.command()
@click.argument("agent", type=Id("agent"))
@pass_settings
def merge(settings: Settings, agent: str) -> None:
    """Merge an agent's branch into the branch of its workspace, and remove its worktree."""
    tree = settings.client().agents.merge(agent)
    emit(settings, tree, ids=[tree["branch"]], human=lambda: say(f"{tree['branch']} is merged."))


@agents.command()
@click.argument("agent", type=Id("agent"))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_settings
def discard(settings: Settings, agent: str, yes: bool) -> None:
    """Remove an agent's worktree and branch with all work in them."""
    if not yes and not settings.quiet and settings.output == "table" and sys.stdin.isatty():
        click.confirm(f"Discard the work of {agent}?", abort=True)
    tree = settings.client().agents.discard(agent)
    emit(settings, tree, ids=[tree["branch"]], human=lambda: say(f"{tree['branch']} is discarded."))
