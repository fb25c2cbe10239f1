"""`kheish runs`: list, show, follow, steer, cancel, retry."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli.ids import Id, Name
from kheish.cli.options import Settings, at_option, group, page_options, pass_settings
from kheish.cli.output import Column, details, emit, fitting, listing, say, shorten, when


def _task(run: dict[str, dict[str, list[dict[str, object]]]]) -> str:
    texts = [item.get("text") for item in (run.get("request") or {}).get("items") or []]
    return shorten(" ".join(text for text in texts if isinstance(text, str)), 80)


def _status(run: dict[str, Any]) -> str:
    """Return the status, with what a running run waits for; that of a waiting run says so itself."""
    on = run["waiting_on"] if run["status"] == "running" else None
    return f"running, waits for {on['kind']} {on['what']}" if on else str(run["status"])


#: the time in which a cancelled run usually ends; after it, the command no longer waits
STOP_TIME = "5s"
COLUMNS: list[Column] = [
    ("RUN", "run_id"),
    ("SESSION", "session_id"),
    ("STATUS", _status),
    ("SUBMITTED", lambda run: when(run["submitted_at"])),
    ("TASK", _task),
]


@group()
def runs() -> None:
    """List, show, follow, steer, cancel and retry runs."""


@runs.command("list")
@click.option("--session", type=Id("session"), help="Only runs of this session.")
@click.option("--status", help="Only runs with this status.")
@page_options
@pass_settings
def list_(settings: Settings, session: str | None, status: str | None, limit: int | None, cursor: str | None) -> None:
    """List runs, newest first."""
    page = settings.client().runs.list(session=session, status=status, limit=limit, cursor=cursor)
    none = fitting('No runs; start one with `kheish run SESSION "task"`.', session, status)
    listing(settings, page, "run_id", COLUMNS, none)


@runs.command()
@click.argument("run_id", metavar="RUN", type=Id("run"))
@at_option
@pass_settings
def show(settings: Settings, run_id: str, at: str | None) -> None:
    """Show a run, now or at an earlier revision."""
    found = settings.client().runs.get(run_id, at=at)
    emit(settings, found.data, ids=[found.run_id], human=lambda: details({**found.data}))


@runs.command()
@click.argument("run_id", metavar="RUN", type=Id("run"))
@click.option("--after", type=click.IntRange(0), default=0, help="Skip events up to this number.")
@pass_settings
def follow(settings: Settings, run_id: str, after: int) -> int:
    """Follow a run from its start, and prompt for pending decisions."""
    from kheish.cli import follow
    from kheish.cli.followed import FollowedRun

    client = settings.client()
    return follow.follow(settings, client, FollowedRun(client.runs.get(run_id)), after)


@runs.command()
@click.argument("run_id", metavar="RUN", type=Id("run"))
@click.argument("text")
@click.option("--idempotency-key", metavar="KEY", help="Send at most once per key.")
@pass_settings
def steer(settings: Settings, run_id: str, text: str, idempotency_key: str | None) -> None:
    """Send the agent a message for the next turn of a run. It answers no approval and no question."""
    posted = settings.client().runs.steer(run_id, text, idempotency_key=idempotency_key)
    line = f"{posted['message_id']} is {posted['state']}, for the next turn of {run_id}."
    emit(settings, posted, ids=[posted["message_id"]], human=lambda: say(line))


@runs.command()
@click.argument("run_id", metavar="RUN", type=Id("run"))
@click.argument("artifact", required=False)
@pass_settings
def debug(settings: Settings, run_id: str, artifact: str | None) -> None:
    """List what a run captured for debugging, or write one ARTIFACT to stdout.

    A run captures if `debug` is redacted or full: in kheish.yaml, of its session, or its own (`kheish run --debug`).
    """
    client = settings.client()
    if artifact is not None:
        return click.echo(client.runs.debug_artifact(run_id, artifact), nl=False)
    page = client.runs.debug(run_id)
    columns: tuple[Column, ...] = (
        ("ARTIFACT", "artifact_id"),
        ("BYTES", "bytes"),
        ("OF", lambda one: one["original_bytes"] if one["truncated"] else ""),
        ("ENCRYPTED", "encrypted"),
        ("AT", lambda one: when(one["at"])),
    )
    return listing(settings, page, "artifact_id", columns, f"{run_id} captured nothing.")


@runs.command()
@click.argument("run_ids", metavar="[RUN]...", nargs=-1, type=Id("run"))
@click.option("--session", type=Id("session"), help="All unfinished runs of this session.")
@click.option("--status", help="All runs with this status.")
@click.option("--route", type=Name("routes"), help="All unfinished runs on this route.")
@click.option("--all", "every", is_flag=True, help="All unfinished runs.")
@click.option("--reason", help="The reason, kept in the journal.")
@pass_settings
def cancel(
    settings: Settings,
    run_ids: tuple[str, ...],
    session: str | None,
    status: str | None,
    route: str | None,
    every: bool,
    reason: str | None,
) -> None:
    """Cancel runs, by id or by filter.

    By id, it waits up to 5 s for the end of each.
    """
    has_filter = bool(session or status or route)
    if bool(run_ids) + has_filter + every != 1:
        raise click.UsageError("Give either run ids, or filters (--session, --status, --route), or --all.")
    client = settings.client()
    if not run_ids:
        many = client.runs.cancel_many(session=session, status=status, route=route, all=every, reason=reason)
        lines = [_cancelled(run) for run in many["items"]] or ["No unfinished run matches."]
        return emit(settings, many, ids=[run["run_id"] for run in many["items"]], human=lambda: say("\n".join(lines)))
    for run_id in run_ids:
        run: Any = client.runs.cancel(run_id, reason)
        if not _is_over(run):
            run = {**run, **client.runs.get(run_id, wait=STOP_TIME).data}
        emit(settings, run, ids=[run_id], human=lambda run=run: say(_cancelled(run)))  # type: ignore[misc]  # a lambda's default has no type
    return None


def _is_over(run: Any) -> bool:
    from kheish.client.run import FINAL

    return run["status"] in FINAL


def _cancelled(run: Any) -> str:
    """Return what a cancel stopped, in a sentence."""
    agents = run["stopped"]["agents"] if run.get("stopped") else []
    below = f" Stopped with it: {', '.join(agents)}." if agents else ""
    state = f"is {run['status']}" if _is_over(run) else "was asked to stop, and still works"
    return f"{run['run_id']} {state}.{below}"


@runs.command()
@click.argument("run_id", metavar="RUN", type=Id("run"))
@click.option("--follow", "-f", "followed", is_flag=True, help="Follow the new run.")
@click.option("--idempotency-key", metavar="KEY", help="Retry at most once per key.")
@pass_settings
def retry(settings: Settings, run_id: str, followed: bool, idempotency_key: str | None) -> int:
    """Start a new run with the same task."""
    from kheish.cli import follow
    from kheish.cli.followed import FollowedRun

    client = settings.client()
    started = client.runs.retry(run_id, idempotency_key=idempotency_key)
    if followed:
        return follow.follow(settings, client, FollowedRun(started))
    return follow.accepted(settings, started, waited=False)
