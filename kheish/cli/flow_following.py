"""Following a Flow on the terminal: print its events, prompt for pending decisions, and report the result."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking
from kheish.cli.following import DETACHED, WAITS, WaitsForPerson
from kheish.cli.output import counted, emit, paint, plain, say
from kheish.cli.rendering import Rendering

if TYPE_CHECKING:
    from kheish.cli.options import Settings
    from kheish.client import Event, Kheish
    from kheish.client.shapes import FlowView

_STOPS = frozenset({"run.waiting", "phase.blocked", "run.completed"})
_TONES = {"succeeded": "green", "satisfied": "green", "failed": "red", "cancelled": "red"}


def follow(settings: Settings, client: Kheish, flow: FlowView, after: int = 0) -> int:
    """Follow a Flow to its seal and return the exit code. Raise WaitsForPerson. Ctrl-C detaches from the Flow."""
    shown = settings.output == "table" and not settings.quiet
    asks, flow_id = shown and asking.can_ask(), flow["flow_id"]
    rendering = Rendering(asks=asks)
    try:
        if shown:
            say(paint(plain(f"{flow_id}: {flow['playbook']}@{flow['version']}, {flow['title']}"), dim=True))
        for event in client.flows.follow(flow_id, after):
            if shown:
                _show(rendering, event)
            if event.kind in _STOPS and not _attend(client, flow_id, rendering if asks else None):
                raise waits(client.flows.get(flow_id))
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"\nDetached; the Flow continues. `kheish flows follow {flow_id}` follows it again.", err=True)
        return DETACHED
    flow = client.flows.get(flow_id)
    emit(settings, flow, ids=[flow_id], human=lambda: _ending(flow))
    return exit_code(flow)


def exit_code(flow: Mapping[str, Any]) -> int:
    """Return 0 for a Flow that succeeded or continues, 1 for a failed or cancelled one, 5 for a waiting one."""
    if flow["status"] in ("failed", "cancelled"):
        return 1
    return WAITS if flow["status"] in ("waiting", "blocked") else 0


def waits(flow: Mapping[str, Any]) -> WaitsForPerson:
    """Return the error for a waiting Flow, with the commands that resolve it."""
    if flow["status"] == "blocked":
        missing = [f"{phase['phase_id']}: {id}" for phase in flow["phases"] for id in phase["missing"]]
        listed = ", ".join([*missing, *flow["missing"]])
        return WaitsForPerson(
            f"{flow['flow_id']} is blocked, required evidence is missing ({listed}): "
            f"`kheish flows evidence {flow['flow_id']} KIND ID --ref …`."
        )
    pending = [one["approval_id"] for one in flow["approvals"] if one["status"] == "pending"]
    commands = ", ".join(f"`kheish approvals allow {one}` (or deny)" for one in pending)
    return WaitsForPerson(
        f"{flow['flow_id']} waits for a person: {commands or 'see `kheish inbox`'}; "
        f"then `kheish flows follow {flow['flow_id']}`."
    )


def _attend(client: Kheish, flow_id: str, rendering: Rendering | None) -> bool:
    """Prompt for pending decisions. Return False if there is no terminal, or evidence is required."""
    flow = client.flows.get(flow_id)
    if flow["status"] not in ("waiting", "blocked"):
        return True
    if flow["status"] == "blocked" or rendering is None:
        return False
    asking.attend(client, client.runs.get(flow["runs"][-1]["run_id"]), rendering)
    return True


def _show(rendering: Rendering, event: Event) -> None:
    line = _line(event)
    text = rendering.feed(event) if line is None else f"{rendering.fresh_line()}{line}\n"
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _line(event: Event) -> str | None:
    """Return the line for an event of the Flow itself; None for an event of a run."""
    data: Mapping[str, Any] = event.data
    match event.kind:
        case "phase.started":
            again = f" (attempt {data['attempt']})" if data["attempt"] > 1 else ""
            return paint(plain(f"── {data['phase']}{again}"), bold=True)
        case "phase.retried":
            return paint(plain(f"── {data['phase']} failed and is retried: {data['reason']}"), fg="yellow")
        case "phase.blocked":
            return paint(plain(f"── {data['phase']} is blocked: {', '.join(data['missing'])} is missing"), fg="yellow")
        case "phase.ended":
            why = f": {data['reason']}" if data["reason"] else ""
            return paint(plain(f"── {data['phase']} {data['status']}{why}"), fg=_TONES.get(data["status"]))
        case "evidence.attached":
            refers = f" → {data['ref']}" if data["ref"] else ""
            return paint(plain(f"  evidence {data['id']} ({data['evidence_kind']}){refers}"), fg="green")
        case _:
            return None


def _ending(flow: Mapping[str, Any]) -> None:
    usage = flow["usage"]
    counts = [counted(usage[f"{kind}_calls"], f"{kind} call") for kind in ("model", "tool")]
    if usage["cost_usd"]:
        counts.append(f"${usage['cost_usd']:.4f}")
    say(" · ".join([paint(flow["status"], fg=_TONES.get(flow["status"], "yellow"), bold=True), *counts]))
    if flow["reason"]:
        say(plain(flow["reason"]))
    say(paint(f"The report: kheish flows report {flow['flow_id']} --html report.html", dim=True))
