"""Following a run on the terminal: print its events, prompt for pending decisions, and report the result."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import asking
from kheish.cli.output import counted, emit, paint, plain, say
from kheish.cli.rendering import Rendering
from kheish.errors import KheishError

if TYPE_CHECKING:
    from kheish.cli.options import Settings
    from kheish.client import Kheish, Run

WAITS = 5
DETACHED = 130


class WaitsForPerson(KheishError):
    """A followed run waits, and there is no terminal for a prompt."""

    status, code, domain, exit_code, title = 0, "waits_for_person", "runs", WAITS, "The run waits for a person"


def follow(settings: Settings, client: Kheish, run: Run, after: int = 0) -> int:
    """Follow `run` to its end and return the exit code. Raise WaitsForPerson. Ctrl-C detaches from the run."""
    shown = settings.output == "table" and not settings.quiet
    asks = shown and asking.can_ask()
    rendering = Rendering(asks=asks)
    try:
        if shown:
            say(paint(f"{run.run_id} in session {run.session_id}{_place(run)}", dim=True))
        for event in run.follow(after):
            if shown:
                _write(rendering.feed(event))
            if event.kind == "run.waiting" and not _attend(client, run, rendering if asks else None):
                emit(settings, run.data, ids=[run.run_id], human=lambda: None)
                raise waits(run)
    except (KeyboardInterrupt, click.Abort):
        _write(rendering.fresh_line() if shown else "")
        click.echo(
            f"Detached; the run continues. `kheish runs follow {run.run_id}` follows it again, "
            f"`kheish runs cancel {run.run_id}` cancels it.",
            err=True,
        )
        return DETACHED
    emit(settings, run.data, ids=[run.run_id], human=lambda: _ending(rendering, run))
    return exit_code(run)


def accepted(settings: Settings, run: Run, *, waited: bool) -> int:
    """Report that `run` was accepted, or its status after a wait; return the exit code."""

    def human() -> None:
        if run.done:
            if run.output:
                say(plain(run.output))
            return _ending(Rendering(), run)
        return say(f"{run.run_id} is {run.status}{_place(run)}; follow it with `kheish runs follow {run.run_id}`.")

    emit(settings, run.data, ids=[run.run_id], human=human)
    code = exit_code(run) if waited else 0
    if code == WAITS:
        raise waits(run)
    return code


def exit_code(run: Run) -> int:
    """Return 0 for a completed or active run, 1 for a failed or cancelled one, 5 for one that waits for a person."""
    if run.done:
        return 0 if run.status == "completed" else 1
    return WAITS if run.status in ("waiting_for_approval", "waiting_for_question") else 0


def waits(run: Run) -> WaitsForPerson:
    """Return the error for a waiting run, with the commands that resolve it."""
    approvals, questions = run.waits_for
    commands = [f"`kheish approvals allow {one}` (or deny)" for one in approvals]
    commands += [f"`kheish questions answer {one} …`" for one in questions]
    return WaitsForPerson(
        f"{run.run_id} waits for a person: {', '.join(commands) or 'see `kheish inbox`'}; "
        f"then `kheish runs follow {run.run_id}`."
    )


def _attend(client: Kheish, run: Run, rendering: Rendering | None) -> bool:
    """Prompt for what the run waits for now, not at an earlier event. Return False without a terminal."""
    if not any(run.refresh().waits_for) or not run.status.startswith("waiting_for_"):
        return True
    if rendering is None:
        return False
    asking.attend(client, run, rendering)
    return True


def _ending(rendering: Rendering, run: Run) -> None:
    _write(rendering.fresh_line())
    data = run.data
    tone = {"completed": "green", "failed": "red"}.get(run.status, "yellow")
    say(" · ".join([paint(run.status, fg=tone, bold=True), *_counts(data)]))
    if run.error is not None:
        say(paint(plain(f"{run.error['code']}: {run.error['message']}"), fg="red"))
    if run.status != "completed":
        click.echo(f"Retry it with `kheish runs retry {run.run_id}`.", err=True)


def _counts(data: Any) -> list[str]:
    usage = data.get("usage") or {}
    counts = [counted(usage.get(f"{kind}_calls", 0), f"{kind} call") for kind in ("model", "tool")]
    tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    if tokens:
        counts.append(f"{'about ' if usage.get('estimated') else ''}{counted(tokens, 'token')}")
    if usage.get("cost_usd"):
        counts.append(f"${usage['cost_usd']:.4f}")
    if data.get("started_at") and data.get("finished_at"):
        from kheish.ids import seconds_of

        counts.append(f"{seconds_of(data['finished_at']) - seconds_of(data['started_at']):.1f} s")
    return counts


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _place(run: Run) -> str:
    position = run.data["queue_position"]
    return f", number {position} in its queue" if run.status == "queued" and position else ""
