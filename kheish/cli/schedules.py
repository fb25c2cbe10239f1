"""`kheish schedules`: manage schedules, show their times and fires, trigger, pause and resume them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from kheish.cli.definitions import commands
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, emit, fitting, listing, plain, say

schedules = commands("schedules", "schedule", "Manage schedules: their files, times and fires; trigger, pause, resume.")
_STATES = ("claimed", "dispatched", "retrying", "skipped", "settled", "failed")


def _started(fire: Mapping[str, Any]) -> object:
    return fire["run_id"] or fire["flow_id"] or fire["message_id"] or ""


def _span(fire: Mapping[str, Any]) -> object:
    return fire["planned"] if fire["until"] is None else f"{fire['planned']} to {fire['until']}"


@schedules.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 100), help="The number of times (5).")
@pass_settings
def next_(settings: Settings, name: str, count: int | None) -> None:
    """Show the next times of a schedule, also while it is paused."""
    page = settings.client().schedules.next(name, count=count)
    zone = f"LOCAL ({page['timezone']})"
    listing(settings, page, "planned", [("PLANNED", "planned"), (zone, "local")], "No more times: it is completed.")


@schedules.command()
@click.argument("name")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only fires in this state.")
@page_options
@pass_settings
def fires(settings: Settings, name: str, state: tuple[str, ...], limit: int | None, cursor: str | None) -> None:
    """List the fires of a schedule with their outcomes, newest first."""
    page = settings.client().schedules.fires(name, state=state or None, limit=limit, cursor=cursor)
    columns: list[Column] = [("PLANNED", _span), ("STATE", "state"), ("STARTED", _started), ("REASON", "reason")]
    listing(settings, page, "fire_id", columns, fitting("No fires yet.", state or None))


@schedules.command()
@click.argument("name")
@pass_settings
def trigger(settings: Settings, name: str) -> None:
    """Fire now, whatever the time, a pause, or a fire in flight."""
    fire = settings.client().schedules.trigger(name)
    what = _started(fire) or fire["reason"]
    emit(settings, fire, ids=[fire["fire_id"]], human=lambda: say(plain(f"{name} is {fire['state']}: {what}")))


@schedules.command()
@click.argument("name")
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def pause(settings: Settings, name: str, reason: str | None) -> None:
    """Skip the occurrences of a schedule until it is resumed."""
    found = settings.client().schedules.pause(name, reason=reason)
    emit(settings, found, ids=[name], human=lambda: say(f"{name} is paused; `kheish schedules resume {name}`."))


@schedules.command()
@click.argument("name")
@pass_settings
def resume(settings: Settings, name: str) -> None:
    """End a pause; what was skipped meanwhile is not made up for."""
    found = settings.client().schedules.resume(name)
    text = f"{name} is resumed; next: {found['next'] or 'never'}."
    emit(settings, found, ids=[name], human=lambda: say(text))
