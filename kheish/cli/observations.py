"""`kheish observations`: list, show, save, materialize."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.observe import KINDS
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, say, shorten, when
from kheish.errors import Invalid

OBSERVATION = click.argument("observation")
COLUMNS: list[Column] = [
    ("OBSERVATION", "observation_id"),
    ("KIND", "kind"),
    ("CAPTURED", lambda one: when(one["captured_at"])),
    ("STATE", "state"),
    ("TEXT", lambda one: shorten(one["text"] or one["why"] or one["media_type"] or "", 60)),
]


@group()
def observations() -> None:
    """List, show and save observations; give them to runs and Flows."""


@observations.command("list")
@click.argument("source")
@click.option("--kind", type=click.Choice(KINDS), help="Only observations of this kind.")
@click.option("--stream", help="Only observations of this stream.")
@click.option("--group", help="Only observations of this group.")
@click.option("--state", type=click.Choice(("retained", "purged")), help="Only observations in this state.")
@page_options
@pass_settings
def list_(
    settings: Settings, source: str, kind: str | None, stream: str | None, group: str | None, state: str | None,
    limit: int | None, cursor: str | None,
) -> None:  # fmt: skip
    """List the observations of a source, newest first."""
    page = settings.client().observations.list(
        source, kind=kind, stream=stream, group=group, state=state, limit=limit, cursor=cursor
    )  # fmt: skip
    none = fitting(f"No observations; send one with `kheish observe {source} FILE`.", kind, stream, group, state)
    listing(settings, page, "observation_id", COLUMNS, none)


@observations.command()
@OBSERVATION
@pass_settings
def show(settings: Settings, observation: str) -> None:
    """Show an observation, with the newest runs and Flows that got it."""
    found = settings.client().observations.get(observation)
    emit(settings, found, ids=[found["observation_id"]], human=lambda: details({**found}))


@observations.command()
@OBSERVATION
@click.argument("file", metavar="FILE")
@pass_settings
def save(settings: Settings, observation: str, file: str) -> None:
    """Write the content of an observation to FILE, which must not exist."""
    content = settings.client().observations.raw(observation)
    try:
        with Path(file).open("xb") as target:
            target.write(content)
    except OSError as error:
        raise Invalid(f"Cannot write {file}: {error.strerror}.") from error
    emit(settings, {"observation_id": observation, "file": file}, ids=[observation],
         human=lambda: say(f"Written to {file}."))  # fmt: skip


@observations.command()
@click.option("--id", "ids", multiple=True, metavar="ID", help="An observation; may be repeated.")
@click.option("--source", help="The source of those that the following options choose.")
@click.option("--latest", type=click.IntRange(1, 500), help="The newest ones.")
@click.option("--stream", help="Only those of this stream.")
@click.option("--group", help="Only those of this group.")
@click.option("--since", metavar="TIME", help="Only those captured since a time, or in a duration such as 15m.")
@click.option("--until", metavar="TIME", help="Only those captured before a time.")
@click.option("--session", type=Id("session"), help="The session of the run.")
@click.option("--content", help="The task of the run.")
@click.option("--route", help="The route of the run.")
@click.option("--playbook", help="Start a Flow of this Playbook instead of a run.")
@click.option("--fail-when-empty", is_flag=True, help="Fail if no observation matches.")
@pass_settings
def materialize(
    settings: Settings, ids: tuple[str, ...], source: str | None, latest: int | None, stream: str | None,
    group: str | None, since: str | None, until: str | None, session: str | None, content: str | None,
    route: str | None, playbook: str | None, fail_when_empty: bool,
) -> None:  # fmt: skip
    """Give observations to a run of a session, or to a new Flow."""
    if (session is None) == (playbook is None):
        raise click.UsageError("Name either --session or --playbook.")
    chosen: dict[str, Any] = {"ids": list(ids)} if ids else {}
    select = {"source": source, "latest": latest, "stream": stream, "group": group, "since": since, "until": until}
    chosen |= {name: value for name, value in select.items() if value is not None}
    given = {"session": session, "content": content, "route": route}
    to: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if playbook is not None:
        to["flow"] = {"playbook": playbook}
    found = settings.client().observations.materialize(chosen, to, fail_when_empty=fail_when_empty)
    started = found["run_id"] or found["flow_id"] or ""
    emit(settings, found, ids=[started], human=lambda: say(_given(started, found)))


def _given(started: str, found: Mapping[str, Any]) -> str:
    count, left_out = len(found["observation_ids"]), found["left_out"]
    rest = f"; the {left_out} oldest do not fit into the prompt, the newest are kept" if left_out else ""
    return f"{started}: {count} observation{'s' * (count != 1)}{rest}"
