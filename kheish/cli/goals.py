"""`kheish goals`: list; show, set, pause, resume, raise and clear the goal of a session."""

from __future__ import annotations

import json
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, say, shorten, when

SESSION = click.argument("session", type=Id("session"))
STATUSES = ("active", "paused", "budget_limited", "complete")


def _not_before(goal: dict[str, str | None]) -> str:
    """Return the time before which an active goal has no next run: that of the agent's wait, or of a retry."""
    times = [time for time in (goal["wait_until"], goal["retry_at"]) if time and goal["status"] == "active"]
    return when(max(times)) if times else ""


COLUMNS: list[Column] = [
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("WHY", lambda goal: shorten(goal["why"] or "", 40)),
    ("RUNS", lambda goal: str(goal["continuations"])),
    ("NOT BEFORE", _not_before),
    ("OBJECTIVE", lambda goal: shorten(goal["objective"], 80)),
]


@group()
def goals() -> None:
    """List goals; show, set, pause, resume, raise and clear the goal of a session."""


@goals.command("list")
@click.option("--session", type=Id("session"), help="Only the goal of this session.")
@click.option("--status", type=click.Choice(STATUSES), help="Only goals with this status.")
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List the goals of all sessions, newest first."""
    page = settings.client().goals.list(session=session, status=status, limit=limit, cursor=cursor)
    listing(settings, page, "session_id", COLUMNS, fitting("No session has a goal.", session, status))


@goals.command()
@SESSION
@at_option
@pass_settings
def show(settings: Settings, session: str, at: str | None) -> None:
    """Show the goal of a session, now or earlier."""
    _print(settings, settings.client().goals.get(session, at=at))


@goals.command("set")
@SESSION
@click.argument("objective")
@click.option("--when", metavar="TEXT", multiple=True, help="A requirement in words, which the agent sees.")
@click.option("--file", metavar="PATH", multiple=True, help="Require a file of the workspace.")
@click.option("--command", metavar="LINE", multiple=True, help="Require that a command ends with exit status 0.")
@click.option("--schema", metavar="JSON", multiple=True, help="Require a final answer that fits a JSON Schema.")
@click.option("--tokens", type=click.IntRange(1), help="Limit the tokens.")
@click.option("--usd", type=click.FloatRange(0, min_open=True), help="Limit the US dollars.")
@click.option("--time", metavar="TIME", help="Limit the time in which its runs work, such as 2h.")
@pass_settings
def set_(
    settings: Settings,
    session: str,
    objective: str,
    when: tuple[str, ...],
    file: tuple[str, ...],
    command: tuple[str, ...],
    schema: tuple[str, ...],
    tokens: int | None,
    usd: float | None,
    time: str | None,
) -> None:
    """Set the goal of a session: the daemon pursues it while the session is idle.

    A goal that is not complete keeps its usage, and the limits that are not given.
    """
    completion: list[Any] = [*when, *({"workspace_file": one} for one in file), *({"command": one} for one in command)]
    completion += [{"output_matches": _json(text)} for text in schema]
    budget = _amounts(tokens, usd, time)
    _print(settings, settings.client().goals.put(session, objective, completion=completion, budget=budget or None))


@goals.command()
@SESSION
@click.option("--reason", help="The reason, which `show` returns as `why`.")
@pass_settings
def pause(settings: Settings, session: str, reason: str | None) -> None:
    """Start no further runs; one that works continues to its end."""
    changes: dict[str, Any] = {"reason": reason} if reason is not None else {}
    goal = settings.client().goals.update(session, status="paused", **changes)
    text = f"The goal of {session} is {goal['status']}; `kheish goals resume {session}`.{_continuing(goal['run_id'])}"
    emit(settings, goal, ids=[goal["goal_id"]], human=lambda: say(text))


@goals.command()
@SESSION
@pass_settings
def resume(settings: Settings, session: str) -> None:
    """End a pause."""
    goal = settings.client().goals.update(session, status="active")
    emit(settings, goal, ids=[goal["goal_id"]], human=lambda: say(f"The goal of {session} is {goal['status']}."))


@goals.command("raise")
@SESSION
@click.option("--tokens", type=click.IntRange(1), help="Add tokens to the limit.")
@click.option("--usd", type=click.FloatRange(0, min_open=True), help="Add US dollars to the limit.")
@click.option("--time", metavar="TIME", help="Add time to the limit, such as 30m.")
@pass_settings
def raise_(settings: Settings, session: str, tokens: int | None, usd: float | None, time: str | None) -> None:
    """Add to the limits of a goal; one at its budget continues. The usage stays."""
    amounts: Any = _amounts(tokens, usd, time)
    if not amounts:
        raise click.UsageError("Give at least one of --tokens, --usd and --time.")
    _print(settings, settings.client().goals.update(session, add_budget=amounts))


@goals.command()
@SESSION
@pass_settings
def clear(settings: Settings, session: str) -> None:
    """Remove the goal; its run that works continues to its end."""
    goals_of = settings.client().goals
    active = goals_of.get(session)["run_id"]
    goals_of.clear(session)
    emit(settings, {}, ids=[], human=lambda: say(f"The goal of {session} is removed.{_continuing(active)}"))


def _continuing(run_id: str | None) -> str:
    return f" Its run {run_id} continues to its end; `kheish runs cancel {run_id}` stops it." if run_id else ""


def _amounts(tokens: int | None, usd: float | None, time: str | None) -> dict[str, Any]:
    given = {"tokens": tokens, "cost_usd": usd, "wall_time": time}
    return {name: value for name, value in given.items() if value is not None}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--schema is not JSON: {error}.") from error


def _print(settings: Settings, goal: Any) -> None:
    emit(settings, goal, ids=[goal["goal_id"]], human=lambda: details({**goal}))
