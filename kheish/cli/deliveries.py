"""`kheish deliveries`: list, show, replay, resolve."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, shorten, when

STATES = ("pending", "delivering", "retrying", "delivered", "held", "dead_letter", "resolved")
COLUMNS: list[Column] = [
    ("DELIVERY", "delivery_id"),
    ("STATE", "state"),
    ("TO", "output"),
    ("KIND", "kind"),
    ("TRIES", "attempts"),
    ("CREATED", lambda one: when(one["created_at"])),
    ("NEXT", lambda one: when(one["next_try_at"]) if one["next_try_at"] else None),
    ("REASON", lambda one: shorten(one["last_error"] or "", 80)),
]


@group()
def deliveries() -> None:
    """List deliveries of outputs; send again or settle those that failed."""


@deliveries.command("list")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only deliveries in this state.")
@click.option("--to", metavar="NAME", help="Only deliveries to this output.")
@click.option("--session", metavar="ID", help="Only deliveries of this session.")
@click.option("--run", metavar="ID", help="Only deliveries of this run.")
@page_options
@pass_settings
def list_(
    settings: Settings,
    state: tuple[str, ...],
    to: str | None,
    session: str | None,
    run: str | None,
    limit: int | None,
    cursor: str | None,
) -> None:
    """List deliveries, newest first."""
    page = settings.client().deliveries.list(
        state=list(state) or None, output=to, session=session, run_id=run, limit=limit, cursor=cursor
    )
    none = fitting("There are no deliveries.", state or to or session or run or None)
    listing(settings, page, "delivery_id", COLUMNS, none)


@deliveries.command()
@click.argument("delivery")
@pass_settings
def show(settings: Settings, delivery: str) -> None:
    """Show a delivery."""
    document = settings.client().deliveries.get(delivery)
    emit(settings, document, ids=[delivery], human=lambda: details({**document}))


@deliveries.command()
@click.argument("delivery", required=False)
@click.option("--all", "every", is_flag=True, help="Send all dead letters again.")
@click.option("--state", type=click.Choice(("dead_letter", "held")), help="With --all: deliveries in this state.")
@click.option("--to", metavar="NAME", help="With --all: only those to this output.")
@click.option("--session", metavar="ID", help="With --all: only those of this session.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sent.")
@pass_settings
def replay(
    settings: Settings,
    delivery: str | None,
    every: bool,
    state: str | None,
    to: str | None,
    session: str | None,
    dry_run: bool,
) -> int:
    """Send a dead letter, or a held delivery, again; with --all, all that fit."""
    client = settings.client().deliveries
    if (delivery is None) != every:
        raise click.UsageError("Name one DELIVERY, or give --all.")
    would = "would be sent" if dry_run else "is queued, to be sent"
    if delivery is not None:
        if state or to or session:
            raise click.UsageError("--state, --to and --session are for --all.")
        one = client.replay(delivery, dry_run=dry_run)
        emit(settings, one, ids=[delivery], human=lambda: say(plain(f"{delivery} {would} again to {one['output']}.")))
        return 0
    done = client.replay_all(state=state or "dead_letter", output=to, session=session, dry_run=dry_run)

    def human() -> None:
        for item in done["items"]:
            said = would if item["reason"] is None else f"is not sent: {item['reason']}"
            say(plain(f"{item['delivery_id']} to {item['output']} {said}"))
        more = "; there are more, run it again" if done["more"] and not dry_run else ""
        begun = "would be sent" if dry_run else "queued, to be sent"
        say(f"{done['replayed']} {begun} again, {done['refused']} not{more}.")

    emit(settings, done, ids=[item["delivery_id"] for item in done["items"] if item["reason"] is None], human=human)
    return 1 if done["refused"] and not done["replayed"] else 0


@deliveries.command()
@click.argument("delivery")
@click.argument("reason")
@pass_settings
def resolve(settings: Settings, delivery: str, reason: str) -> None:
    """Settle a dead letter, or a held delivery, without sending it."""
    one = settings.client().deliveries.resolve(delivery, reason)
    emit(settings, one, ids=[delivery], human=lambda: say(plain(f"{delivery} is resolved: {reason}")))
