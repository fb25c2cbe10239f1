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
    help="Leave a rule in the session: for this very call, or for calls like it (`approvals show` has both).",
)


@group()
def approvals() -> None:
    """List, show, allow and deny approvals."""


@approvals.command("list")
@click.option("--session", type=Id("session"), help="Only those of this session.")
@click.option("--status", default="pending", show_default=True, help="Only those with this status, or: all.")
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, status: str, limit: int | None, cursor: str | None) -> None:
    """List the approvals that wait, newest first."""
    page = settings.client().approvals.list(
        session=session, status=None if status == "all" else status, limit=limit, cursor=cursor
    )
    listing(
        settings,
        page,
        "approval_id",
        COLUMNS,
        fitting("No approval waits.", session, None if status == "pending" else status),
    )


@approvals.command()
@click.argument("approval", type=Id("approval"))
@at_option
@pass_settings
def show(settings: Settings, approval: str, at: str | None) -> None:
    """Show one approval with the whole of its call, now or as it was."""
    found = settings.client().approvals.get(approval, at=at)

    def human() -> None:
        asking.show_approval(found)
        details({name: value for name, value in found.items() if name not in asking.SHOWN})

    emit(settings, found, ids=[approval], human=human)


@approvals.command()
@click.argument("approval_ids", metavar="APPROVAL...", nargs=-1, required=True, type=Id("approval"))
@click.option("--reason", help="Why, for the journal.")
@click.option("--arguments", metavar="JSON", help="Allow it with these arguments instead.")
@_REMEMBER
@pass_settings
def allow(
    settings: Settings, approval_ids: tuple[str, ...], reason: str | None, arguments: str | None, remember: str | None
) -> None:
    """Allow suspended calls; their runs go on."""
    edited = _arguments(arguments)
    if edited is not None and len(approval_ids) > 1:
        raise click.UsageError("--arguments goes with one approval.")
    _resolve(settings, approval_ids, "allow", reason, edited, remember)


@approvals.command()
@click.argument("approval_ids", metavar="APPROVAL...", nargs=-1, required=True, type=Id("approval"))
@click.option("--reason", help="Why; the model reads it.")
@_REMEMBER
@pass_settings
def deny(settings: Settings, approval_ids: tuple[str, ...], reason: str | None, remember: str | None) -> None:
    """Deny suspended calls; the model is told, and the runs go on."""
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
        told = plain(f"{resolved['approval_id']} is {resolved['status']}: {short_call(resolved)}")
        emit(settings, resolved, ids=[one], human=lambda told=told: say(told))  # type: ignore[misc]  # a lambda's default has no type


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
