"""`kheish auth`: list the credential grants, and revoke or restore them."""

from __future__ import annotations

from typing import Any, Literal

import click

from kheish.cli import logging_in
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import details, emit, listing, say, when

_WHAT = click.argument("what", type=click.Choice(["subject", "slot", "lease", "account"]))


@group()
def auth() -> None:
    """List, revoke and restore access to credentials."""


@auth.command()
@pass_settings
def grants(settings: Settings) -> None:
    """List the slots and their permitted uses."""
    columns = (("FOR", "audience"), ("SLOT", "slot"), ("STATUS", "status"), ("REASON", "reason"))
    listing(settings, settings.client().access.grants(), "grant_id", columns, "No route needs a credential.")


@auth.command()
@pass_settings
def accounts(settings: Settings) -> None:
    """List the provider accounts: slots of the vault, and environment variables that routes reference."""
    columns = (
        ("ACCOUNT", "account_id"),
        ("KIND", "kind"),
        ("FOR", lambda one: ", ".join(one["audiences"])),
        ("STATUS", "status"),
        ("REASON", "reason"),
    )
    found = settings.client().access.accounts()
    listing(settings, found, "account_id", columns, "No accounts; `kheish secrets set SLOT` adds one.")


@auth.command()
@click.argument("account")
@click.option("--issuer", help="The authorization server; its metadata has the other addresses.")
@click.option("--client-id", help="The client that is registered there.")
@click.option("--client-secret", metavar="SLOT", help="The slot with the client's secret, if it has one.")
@click.option("--scope", "scopes", multiple=True, help="A scope to ask for; repeatable.")
@click.option("--authorization-endpoint", help="For an issuer without metadata, as the two others.")
@click.option("--token-endpoint")
@click.option("--revocation-endpoint")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option("--no-wait", is_flag=True, help="Print the page, and do not wait for the login.")
@pass_settings
def login(
    settings: Settings, /, account: str, scopes: tuple[str, ...], opens: bool, no_wait: bool, **given: str | None
) -> int:
    """Log in to the OAuth ACCOUNT of a model provider. The first time, --issuer and --client-id add it; routes name it
    as `auth_ref: oauth.ACCOUNT`."""
    began = settings.client().access.add_account(account=account, scopes=list(scopes), **given)
    return logging_in.follow(settings, account, began, opens=opens, waits=not no_wait)


@auth.command()
@click.argument("account")
@pass_settings
def refresh(settings: Settings, account: str) -> None:
    """Renew the tokens of an OAuth ACCOUNT now."""
    settings.client().access.refresh_account(account)
    emit(settings, {"account": account, "renewed": True}, ids=[account], human=lambda: say(f"{account} is renewed."))


@auth.command()
@click.argument("account")
@pass_settings
def logout(settings: Settings, account: str) -> None:
    """Remove the tokens of an OAuth ACCOUNT, and revoke them at their issuer."""
    settings.client().access.remove_account(account)
    emit(settings, {"account": account, "removed": True}, ids=[account], human=lambda: say(f"{account} is logged out."))


@auth.command()
@pass_settings
def leases(settings: Settings) -> None:
    """List the active leases."""
    columns = (
        ("LEASE", "lease_id"),
        ("SUBJECT", "subject"),
        ("SLOT", "slot"),
        ("FOR", "audience"),
        ("EXPIRES", lambda one: when(one["expires_at"])),
    )
    listing(settings, settings.client().access.leases(), "lease_id", columns, "No active leases.")


@auth.command()
@click.argument("subject")
@pass_settings
def subjects(settings: Settings, subject: str) -> None:
    """Show the access of SUBJECT (session:ID, agent:ID, daemon)."""
    found = settings.client().access.subject(subject)
    emit(settings, found, ids=[subject], human=lambda: details(found))


@auth.command()
@_WHAT
@click.argument("id")
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def revoke(settings: Settings, what: str, id: str, reason: str | None) -> None:
    """Grant no further leases to or of ID, and end the active ones at once."""
    done = settings.client().access.revoke(what, id, reason)
    ended = len(done["leases"])
    emit(settings, done, ids=done["leases"], human=lambda: say(f"Revoked the {what} {id}; leases ended: {ended}."))


@auth.command()
@click.argument("what", type=click.Choice(["subject", "slot", "account"]))
@click.argument("id")
@pass_settings
def restore(settings: Settings, what: Literal["subject", "slot", "account"], id: str) -> None:
    """Undo a revocation."""
    done: Any = settings.client().access.restore(what, id)
    emit(settings, done, ids=[id], human=lambda: say(f"The {what} {id} may be used again."))
