"""`kheish approvals`: list, show, allow, deny."""

from __future__ import annotations

import json
from typing import Any

import click

from kheish.cli import asking
from kheish.cli.ids import Id
from kheish.cli.options import Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, plain, say, when
from kheish.cli.rendering import short_call

COLUMNS: list[Column] = [
    ("APPROVAL", "approval_id"),
    ("SESSION", "session_id"),
    ("STATUS", "status"),
    ("RISK", "risk"),
    ("ASKED", lambda approval: when(approval["requested_at"])),
    ("CALL", short_call),
]


_REMEMBER = click.option(
    "--remember",
    type=click.Choice(["exact", "pattern"]),
    help="Add a rule to the session: for this exact call, or for similar calls (`approvals show` prints both).",
)
APPROVAL = Id("approval", "appr_")
PENDING = Id("approval", "appr_", status="pending")


@group()
def approvals() -> None:
    """List, show, allow and deny approvals."""


@approvals.command("list")
@click.option("--session", type=Id("session"), help="Only approvals of this session.")
@click.option("--status", default="pending", show_default=True, help="Only approvals with this status, or `all`.")
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, status: str, limit: int | None, cursor: str | None) -> None:
    """List approvals, newest first; only pending ones unless --status is given."""
    page = settings.client().approvals.list(
        session=session, status=None if status == "all" else status, limit=limit, cursor=cursor
    )
    listing(
        settings,
        page,
        "approval_id",
        COLUMNS,
        fitting("No pending approvals.", session, None if status == "pending" else status),
    )


@approvals.command()
@click.argument("approval", type=APPROVAL)
@at_option
@pass_settings
def show(settings: Settings, approval: str, at: str | None) -> None:
    """Show an approval with its complete call, now or at an earlier revision."""
    found = settings.client().approvals.get(approval, at=at)

    def human() -> None:
        asking.show_approval(found)
        details({name: value for name, value in found.items() if name not in asking.SHOWN})

    emit(settings, found, ids=[approval], human=human)


@approvals.command()
@click.argument("approval_ids", metavar="APPROVAL...", nargs=-1, required=True, type=PENDING)
@click.option("--reason", help="The reason, kept in the journal.")
@click.option("--arguments", metavar="JSON", help="Allow the call with these arguments instead.")
@_REMEMBER
@pass_settings
def allow(
    settings: Settings, approval_ids: tuple[str, ...], reason: str | None, arguments: str | None, remember: str | None
) -> None:
    """Allow suspended calls; their runs continue."""
    edited = _arguments(arguments)
    if edited is not None and len(approval_ids) > 1:
        raise click.UsageError("--arguments requires exactly one approval.")
    _resolve(settings, approval_ids, "allow", reason, edited, remember)


@approvals.command()
@click.argument("approval_ids", metavar="APPROVAL...", nargs=-1, required=True, type=PENDING)
@click.option("--reason", help="The reason, passed to the model.")
@_REMEMBER
@pass_settings
def deny(settings: Settings, approval_ids: tuple[str, ...], reason: str | None, remember: str | None) -> None:
    """Deny suspended calls; the runs continue, and the model sees the denial."""
    _resolve(settings, approval_ids, "deny", reason, None, remember)


def _resolve(
    settings: Settings,
    ids: tuple[str, ...],
    decision: str,
    reason: str | None,
    arguments: dict[str, Any] | None,
    remember: str | None,
) -> None:
    client = settings.client()
    for one in ids:
        resolved = client.approvals.resolve(one, decision, reason=reason, arguments=arguments, remember=remember)
        line = plain(f"{resolved['approval_id']} is {resolved['status']}: {short_call(resolved)}")
        emit(settings, resolved, ids=[one], human=lambda line=line: say(line))  # type: ignore[misc]  # a lambda's default has no type


def _arguments(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--arguments is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise click.UsageError("--arguments is not a JSON object.")
    return found
