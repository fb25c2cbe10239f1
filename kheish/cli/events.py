"""`kheish events`: past events, and with --follow new ones as they happen."""

from __future__ import annotations

from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, command, pass_settings
from kheish.cli.output import as_yaml, escaped, paint, plain, say, when
from kheish.cli.rendering import short_call, text_of
from kheish.client.sse import Event


@command()
@click.option("--follow", "-f", "followed", is_flag=True, help="Print new events as they happen, until interrupted.")
@click.option("--after", type=click.IntRange(0), help="Start after this event number (0: all events).")
@click.option("--session", type=Id("session"), help="Only events of this session.")
@click.option("--run", help="Only events of this run.")
@click.option("--flow", help="Only events of this Flow and its runs.")
@click.option("--project", help="Only events of this project, of its tasks, and of the runs that work for it.")
@click.option("--channel", help="Only events of this channel: messages, reactions, turns.")
@click.option("--kind", help="Only events of this kind, such as tool.finished.")
@pass_settings
def events(
    settings: Settings,
    followed: bool,
    after: int | None,
    session: str | None,
    run: str | None,
    flow: str | None,
    project: str | None,
    channel: str | None,
    kind: str | None,
) -> None:
    """Print events, oldest first; with --follow and without --after, only new ones. JSON: one line per event."""
    client = settings.client()
    where: dict[str, Any] = {
        "session": session, "run": run, "flow": flow, "channel": channel, "project": project, "kind": kind,
    }  # fmt: skip
    found = client.events(after=after, **where) if followed else client.past_events(after=after or 0, **where)
    try:
        for event in found:
            _show(settings, event)
    except KeyboardInterrupt:
        return


def _show(settings: Settings, event: Event) -> None:
    if settings.quiet:
        if event.n is not None:
            say(str(event.n))
    elif settings.output == "json":
        say(escaped(event.raw))
    elif settings.output == "yaml":
        import json

        say("---\n" + as_yaml(json.loads(event.raw)))
    elif not event.live:
        where = f"{event.session or '-'}"
        say(f"{event.n:>8}  {when(event.at)}  {paint(event.kind.ljust(20), bold=True)}  {where}  {plain(_gist(event))}")


def _gist(event: Event) -> str:
    """Return a short summary of the event."""
    data = event.data
    if data.get("tool"):
        return short_call(data)
    for name in ("text", "output", "content", "status", "reason", "error", "decision", "outcome", "path"):
        if value := data.get(name):
            said = value.get("message") if isinstance(value, dict) and "message" in value else text_of(value)
            return str(said).strip().split("\n", 1)[0][:100]
    return ""
