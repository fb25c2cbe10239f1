"""`kheish flows`: start, list, show, follow, cancel, evidence, report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, exclusive, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, paint, plain, say, table, when
from kheish.errors import Invalid, KheishError

if TYPE_CHECKING:
    from kheish.client import Kheish

COLUMNS: list[Column] = [
    ("FLOW", "flow_id"),
    ("PLAYBOOK", lambda flow: f"{flow['playbook']}@{flow['version']}"),
    ("STATUS", "status"),
    ("STARTED", lambda flow: when(flow["started_at"])),
    ("PHASES", lambda flow: " ".join(f"{one['phase_id']}:{one['status']}" for one in flow["phases"])),
]
PHASES: list[Column] = [
    ("PHASE", "phase_id"),
    ("STATUS", "status"),
    ("RUNS", lambda phase: len(phase["run_ids"])),
    ("COST", lambda phase: "" if phase["cost_usd"] is None else f"${phase['cost_usd']:.4f}"),
    ("EVIDENCE", lambda phase: ", ".join(one["id"] for one in phase["evidence"])),
    ("MISSING", lambda phase: ", ".join(phase["missing"])),
]


@group()
def flows() -> None:
    """Start, list, show, follow and cancel Flows; attach evidence; print reports."""


@flows.command()
@click.argument("playbook", metavar="PLAYBOOK[@VERSION]")
@click.option(
    "--input",
    "-i",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="An input; NAME:=JSON for a value that is not text.",
)
@click.option("--session", type=Id("session"), help="Run in this session (default: a new one).")
@click.option("--budget", metavar="USD", type=float, help="The cost limit of all its runs, in US dollars.")
@click.option("--idempotency-key", metavar="KEY", help="Start at most one Flow per key.")
@click.option("--follow", "-f", "followed", is_flag=True, help="Follow the Flow.")
@click.option("--wait", metavar="TIME", help="Wait up to this time (30s) until it ends, waits or is blocked.")
@pass_settings
def start(
    settings: Settings,
    playbook: str,
    inputs: tuple[str, ...],
    session: str | None,
    budget: float | None,
    idempotency_key: str | None,
    followed: bool,
    wait: str | None,
) -> int:
    """Start a Playbook: the given version, or the active one."""
    from kheish.cli import follow
    from kheish.cli.followed import FollowedFlow

    exclusive(follow=followed, wait=wait)  # following waits for the end
    client = settings.client()
    flow = client.flows.start(
        playbook,
        _inputs(client, playbook, inputs),
        idempotency_key=idempotency_key,
        wait=wait,
        session_id=session,
        budget=None if budget is None else {"cost_usd": budget},
    )
    if followed:
        return follow.follow(settings, client, FollowedFlow(client, flow))
    line = plain(f"{flow['flow_id']} is {flow['status']}; follow it with `kheish flows follow {flow['flow_id']}`.")
    emit(settings, flow, ids=[flow["flow_id"]], human=lambda: say(line))
    started = FollowedFlow(client, flow)
    if wait and started.is_waiting:
        raise started.waits()
    return started.exit_code if wait else 0


@flows.command("list")
@click.option("--playbook", help="Only Flows of this Playbook.")
@click.option("--status", help="Only Flows with this status.")
@click.option("--session", type=Id("session"), help="Only Flows in this session.")
@page_options
@pass_settings
def list_(
    settings: Settings,
    playbook: str | None,
    status: str | None,
    session: str | None,
    limit: int | None,
    cursor: str | None,
) -> None:
    """List Flows, newest first."""
    page = settings.client().flows.list(playbook=playbook, status=status, session=session, limit=limit, cursor=cursor)
    none = fitting("No Flows; start one with `kheish flows start PLAYBOOK`.", playbook, status, session)
    listing(settings, page, "flow_id", COLUMNS, none)


@flows.command()
@click.argument("flow_id", metavar="FLOW", type=Id("flow"))
@click.option("--at", metavar="REV", help="At this revision: a commit, tag, event (n:90412) or time (@{…}).")
@pass_settings
def show(settings: Settings, flow_id: str, at: str | None) -> None:
    """Show a Flow: its phases, approvals, evidence and cost."""
    found = settings.client().flows.get(flow_id, at=at)
    emit(settings, found, ids=[flow_id], human=lambda: _show({**found}))


@flows.command()
@click.argument("flow_id", metavar="FLOW", type=Id("flow"))
@click.option("--after", type=click.IntRange(0), default=0, help="Skip events up to this number.")
@pass_settings
def follow(settings: Settings, flow_id: str, after: int) -> int:
    """Follow a Flow from its start, and prompt for pending decisions."""
    from kheish.cli import follow
    from kheish.cli.followed import FollowedFlow

    client = settings.client()
    return follow.follow(settings, client, FollowedFlow(client, client.flows.get(flow_id)), after)


@flows.command()
@click.argument("flow_id", metavar="FLOW", type=Id("flow"))
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def cancel(settings: Settings, flow_id: str, reason: str | None) -> None:
    """Cancel a Flow and its runs."""
    found = settings.client().flows.cancel(flow_id, reason)
    emit(settings, found, ids=[flow_id], human=lambda: say(plain(f"{flow_id} is {_stopping(found)}.")))


@flows.command()
@click.argument("flow_id", metavar="FLOW", type=Id("flow"))
@click.argument("kind")
@click.argument("id")
@click.option("--ref", help="The path, commit, run … that it refers to (default: ID).")
@click.option("--phase", help="The phase it belongs to.")
@click.option("--description", "-m", default="", help="What it shows; the statement of an attestation.")
@pass_settings
def evidence(
    settings: Settings, flow_id: str, kind: str, id: str, ref: str | None, phase: str | None, description: str
) -> None:
    """Attach evidence. KIND is file, commit, run, output, attestation …; ID is its name in the Playbook."""
    found = settings.client().flows.attach(flow_id, kind, id, ref=ref, phase=phase, description=description)
    last = found["evidence"][-1]
    line = f"{last['evidence_id']} is attached to {last['phase'] or 'the Flow'}; {flow_id} is {found['status']}."
    emit(settings, found, ids=[last["evidence_id"]], human=lambda: say(plain(line)))


@flows.command()
@click.argument("flow_id", metavar="FLOW", type=Id("flow"))
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a self-contained HTML page to this file.",
)
@pass_settings
def report(settings: Settings, flow_id: str, page: Path | None) -> None:
    """Print the auditor's report as Markdown, or write it as a self-contained HTML file."""
    client = settings.client()
    if page is None:
        return say(client.flows.report(flow_id).rstrip("\n"))
    text = client.flows.report(flow_id, "html")
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Invalid(f"Cannot write {page}: {error.strerror}.") from error
    return emit(settings, {"path": str(page)}, ids=[str(page)], human=lambda: say(f"The report is in {page}."))


def _stopping(flow: Mapping[str, Any]) -> str:
    return "cancelled" if flow["status"] == "cancelled" else f"{flow['status']}, and stopping"


def _show(flow: dict[str, Any]) -> None:
    heads = ("flow_id", "title", "status", "reason", "session_id", "started_by", "started_at", "finished_at", "tag")
    details({name: flow[name] for name in heads} | {"inputs": flow["inputs"]})
    say()
    if flow["phases"]:
        table(flow["phases"], PHASES)
    for one in flow["approvals"]:
        outcome = f"{one['status']} by {one['decided_by']}" if one["decided_by"] else one["status"]
        what = f"{one['when']} {one['phase']}" if one["when"] else one["tool"]
        say(plain(f"approval {one['approval_id']} ({what}): {outcome}"))
    for one in flow["refused"]:
        say(paint(plain(f"refused {one['tool']}: {one['reason']}"), fg="red"))


# --- inputs -----------------------------------------------------------------------------------------------------------


def _inputs(client: Kheish, playbook: str, given: Iterable[str]) -> dict[str, Any]:
    """Return the inputs: `NAME=VALUE` as text, or as the type in the Playbook's schema; `NAME:=JSON` as JSON."""
    found: dict[str, Any] = {}
    types: Mapping[str, Any] | None = None
    for one in given:
        name, is_there, value = one.partition("=")
        if not is_there or not name.strip(":"):
            raise click.UsageError(f"--input {one!r} is not NAME=VALUE.")
        if name.endswith(":"):
            found[name[:-1]] = _json(name[:-1], value)
            continue
        types = _schemas(client, playbook) if types is None else types
        found[name] = _typed((types.get(name) or {}).get("type"), value)
    return found


def _json(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"--input {name}:= is not JSON: {error}.") from error


def _typed(kind: Any, value: str) -> Any:
    """Return an argument converted to the schema's type; the daemon rejects invalid values."""
    kinds = kind if isinstance(kind, list) else [kind]
    if kind is None or "string" in kinds:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _schemas(client: Kheish, playbook: str) -> Mapping[str, Any]:
    """Return the input schemas of the version, or of the draft if none is given.

    Return an empty mapping if they cannot be read: the start itself reports the error.
    """
    id, at, version = playbook.partition("@")
    try:
        if at:
            doc = client.playbooks.version(id, version)["manifest"]
        else:
            doc = client.definitions("playbooks").get(id)
    except KheishError:
        return {}
    return dict((doc or {}).get("inputs") or {})
