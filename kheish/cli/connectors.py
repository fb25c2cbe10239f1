"""`kheish connectors`: manage connectors, list their receipts, send a signed sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from kheish.cli.definitions import commands, read_file
from kheish.cli.options import Settings, page_options, pass_settings
from kheish.cli.output import Column, emit, fitting, listing, plain, say, when

connectors = commands("connectors", "connector", "Manage connectors: their files and receipts; test them.")
_STATES = ("accepted", "refused")


def _led(receipt: Mapping[str, Any]) -> object:
    return receipt["run_id"] or receipt["flow_id"] or receipt["message_id"] or receipt["reason"] or ""


_RECEIPTS: tuple[Column, ...] = (
    ("ID", "receipt_id"),
    ("AT", lambda one: when(one["at"])),
    ("STATE", "state"),
    ("SENDER", lambda one: one["person"] or one["sender"] or ""),
    ("SESSION", lambda one: one["session_id"] or ""),
    ("LED TO", _led),
)


@connectors.command()
@click.argument("name")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only receipts in this state.")
@page_options
@pass_settings
def receipts(settings: Settings, name: str, state: tuple[str, ...], limit: int | None, cursor: str | None) -> None:
    """List what the requests of a connector led to, newest first."""
    page = settings.client().connectors.receipts(name, state=list(state) or None, limit=limit, cursor=cursor)
    listing(settings, page, "receipt_id", list(_RECEIPTS), fitting("No requests yet.", state or None))


@connectors.command()
@click.argument("name")
@click.option("--body", metavar="FILE", help="The body of the sample (`-`: stdin), for the kind http.")
@click.option("--event", metavar="NAME", help="The type of the event, such as GitHub's issues.")
@pass_settings
def test(settings: Settings, name: str, body: str | None, event: str | None) -> int:
    """Send a signed sample to a connector as its sender would; with Socket Mode and polling, try its credentials.

    A sample of the kind http leads to what any request leads to: a run, a Flow or a message.
    """
    done = settings.client().connectors.test(name, body=read_file(body) if body is not None else None, event=event)
    answer = done["answer"]

    def human() -> None:
        say(plain(f"{name} answered {done['status']}: {json.dumps(answer)}"))

    emit(settings, done, ids=[str(answer.get("receipt_id") or name)], human=human)
    return 0 if done["status"] < 300 else 1
