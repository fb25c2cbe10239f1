"""`kheish usage`: show model usage and cost, summed up by session, route, project, Playbook, day, agent or tree."""

from __future__ import annotations

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import Column, listing

_BY = ("session", "route", "project", "playbook", "day", "root", "agent")
_HEADS: dict[str, Column] = {
    "session": ("SESSION", "session_id"),
    "route": ("ROUTE", "route"),
    "project": ("PROJECT", "project"),
    "playbook": ("PLAYBOOK", "playbook"),
    "day": ("DAY (UTC)", "day"),
    "root": ("TREE", "root"),
    "agent": ("AGENT", "agent_id"),
}


@command()
@click.option(
    "--by", multiple=True, type=click.Choice(_BY), help="Group by this; may be repeated (default: day, route)."
)
@click.option("--session", type=Id("session"), help="Only usage of this session.")
@click.option("--route", type=Name("routes"), help="Only usage of this route.")
@click.option("--project", type=Name("projects"), help="Only usage of this project.")
@click.option("--playbook", type=Name("playbooks"), help="Only usage of Flows of this Playbook.")
@click.option("--day", metavar="YYYY-MM-DD", help="Only usage of this UTC day.")
@page_options
@pass_settings
def usage(
    settings: Settings,
    by: tuple[str, ...],
    session: str | None,
    route: str | None,
    project: str | None,
    playbook: str | None,
    day: str | None,
    limit: int | None,
    cursor: str | None,
) -> None:
    """Show the usage of models: calls, tokens, and US dollars for routes with a price."""
    kept = [name for name in _BY if name in (by or ("day", "route"))]
    page = settings.client().usage(
        by=kept, session=session, route=route, project=project, playbook=playbook, day=day, limit=limit, cursor=cursor
    )
    columns: list[Column] = [
        *(_HEADS[name] for name in kept),
        ("CALLS", "model_calls"),
        ("INPUT", lambda row: f"{'~' if row['estimated'] else ''}{row['input_tokens']}"),
        ("CACHED", "cached_tokens"),
        ("OUTPUT", "output_tokens"),
        ("USD", lambda row: _dollars(row["cost_usd"])),
    ]
    if "agent" in kept:
        columns += [
            ("TREE INPUT", lambda row: row["subtree"]["input_tokens"]),
            ("TREE OUTPUT", lambda row: row["subtree"]["output_tokens"]),
            ("TREE USD", lambda row: _dollars(row["subtree"]["cost_usd"])),
        ]
    listing(settings, page, str(_HEADS[kept[0]][1]), columns, "No usage.")


def _dollars(amount: float | None) -> str | None:
    return None if amount is None else f"{amount:.4f}"
