"""`kheish usage`: show model usage and cost, summed up by session, route or day."""

from __future__ import annotations

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, command, page_options, pass_settings
from kheish.cli.output import Column, listing

_BY = ("session", "route", "day")
_HEADS: dict[str, Column] = {
    "session": ("SESSION", "session_id"),
    "route": ("ROUTE", "route"),
    "day": ("DAY (UTC)", "day"),
}


@command()
@click.option(
    "--by", multiple=True, type=click.Choice(_BY), help="Group by this; may be repeated (default: day, route)."
)
@click.option("--session", type=Id("session"), help="Only usage of this session.")
@click.option("--route", type=Name("routes"), help="Only usage of this route.")
@click.option("--day", metavar="YYYY-MM-DD", help="Only usage of this UTC day.")
@page_options
@pass_settings
def usage(
    settings: Settings,
    by: tuple[str, ...],
    session: str | None,
    route: str | None,
    day: str | None,
    limit: int | None,
    cursor: str | None,
) -> None:
    """Show the usage of models: calls, tokens, and US dollars for routes with a price."""
    kept = [name for name in _BY if name in (by or ("day", "route"))]
    page = settings.client().usage(by=kept, session=session, route=route, day=day, limit=limit, cursor=cursor)
    columns: list[Column] = [
        *(_HEADS[name] for name in kept),
        ("CALLS", "model_calls"),
        ("INPUT", lambda row: f"{'~' if row['estimated'] else ''}{row['input_tokens']}"),
        ("CACHED", "cached_tokens"),
        ("OUTPUT", "output_tokens"),
        ("USD", lambda row: None if row["cost_usd"] is None else f"{row['cost_usd']:.4f}"),
    ]
    listing(settings, page, str(_HEADS[kept[0]][1]), columns, "No usage.")
