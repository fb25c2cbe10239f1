"""`kheish auth`: who may use which credential now, and taking that away."""

from __future__ import annotations

from typing import Any, Literal

import click

from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import details, emit, listing, say, when

_WHAT = click.argument("what", type=click.Choice(["subject", "slot", "lease", "account"]))


@group()
def auth() -> None:
    """Who may use which credential now."""


@auth.command()
@pass_settings
def grants(settings: Settings) -> None:
    """List which slots may be used for what."""
    columns = (("FOR", "audience"), ("SLOT", "slot"), ("STATUS", "status"), ("REASON", "reason"))
    listing(settings, settings.client().access.grants(), "grant_id", columns, "No route needs a credential.")


@auth.command()
@pass_settings
def accounts(settings: Settings) -> None:
    """List the provider accounts: slots of the vault, and variables that routes name."""
    columns = (
        ("ACCOUNT", "account_id"),
        ("FOR", lambda one: ", ".join(one["audiences"])),
        ("STATUS", "status"),
        ("REASON", "reason"),
    )
    found = settings.client().access.accounts()
    listing(settings, found, "account_id", columns, "There are none; `kheish secrets set SLOT` makes one.")


@auth.command()
@pass_settings
def leases(settings: Settings) -> None:
    """List what is lent at this moment."""
    columns = (
        ("LEASE", "lease_id"),
        ("SUBJECT", "subject"),
        ("SLOT", "slot"),
        ("FOR", "audience"),
        ("UNTIL", lambda one: when(one["expires_at"])),
    )
    listing(settings, settings.client().access.leases(), "lease_id", columns, "Nothing is lent now.")


@auth.command()
@click.argument("subject")
@pass_settings
def subjects(settings: Settings, subject: str) -> None:
    """Show what SUBJECT (session:ID, agent:ID, daemon) holds."""
    found = settings.client().access.subject(subject)
    emit(settings, found, ids=[subject], human=lambda: details(found))


@auth.command()
@_WHAT
@click.argument("id")
@click.option("--reason", help="Why, for the journal.")
@pass_settings
def revoke(settings: Settings, what: str, id: str, reason: str | None) -> None:
    """Lend nothing more to or of ID, and end at once what is in flight with it."""
    done = settings.client().access.revoke(what, id, reason)
    ended = len(done["leases"])
    emit(settings, done, ids=done["leases"], human=lambda: say(f"Revoked the {what} {id}; leases ended: {ended}."))


@auth.command()
@click.argument("what", type=click.Choice(["subject", "slot", "account"]))
@click.argument("id")
@pass_settings
def restore(settings: Settings, what: Literal["subject", "slot", "account"], id: str) -> None:
    """Take a revocation back."""
    done: Any = settings.client().access.restore(what, id)
    emit(settings, done, ids=[id], human=lambda: say(f"The {what} {id} may be used again."))
