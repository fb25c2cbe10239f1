"""Following runs and Flows on the terminal: print events, prompt for pending decisions, and report the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from kheish.cli import asking
from kheish.cli.followed import Followed, FollowedRun, detach, place, show_end, write
from kheish.cli.output import emit, paint, plain, say
from kheish.cli.rendering import Rendering

if TYPE_CHECKING:
    from kheish.cli.options import Settings
    from kheish.client import Kheish, Run


def follow(
    settings: Settings,
    client: Kheish,
    followed: Followed,
    after: int = 0,
    prompting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> int:
    """Follow a thing to its end and return the exit code. Raise WaitsForPerson. Ctrl-C detaches from it.

    `prompting` surrounds each prompt.
    """
    is_shown = settings.output == "table" and not settings.quiet
    asks = is_shown and asking.can_ask()
    if asks and asking.can_draw():
        from kheish.cli.terminal import chatting

        return chatting.follow(client, followed, after)
    rendering = Rendering(asks=asks)
    try:
        if is_shown:
            say(paint(plain(followed.heading), dim=True))
        for event in followed.events(after):
            if is_shown:
                write(rendering.feed(event))
            if event.kind not in followed.stops:
                continue
            with prompting():
                is_attended = _attend(client, followed, rendering if asks else None)
            if not is_attended:
                emit(settings, followed.data, ids=[followed.id], human=lambda: None)
                raise followed.waits()
    except (KeyboardInterrupt, click.Abort):
        write(rendering.fresh_line() if is_shown else "")
        return detach(followed)
    emit(settings, followed.data, ids=[followed.id], human=lambda: show_end(rendering, followed))
    return followed.exit_code


def accepted(settings: Settings, run: Run, *, waited: bool) -> int:
    """Report that `run` was accepted, or its status after a wait; return the exit code."""
    followed = FollowedRun(run)

    def human() -> None:
        if run.done:
            if run.output:
                say(plain(run.output))
            return show_end(Rendering(), followed)
        return say(f"{run.run_id} is {run.status}{place(run)}; follow it with `kheish runs follow {run.run_id}`.")

    emit(settings, run.data, ids=[run.run_id], human=human)
    if waited and followed.is_waiting:
        raise followed.waits()
    return followed.exit_code if waited else 0


def _attend(client: Kheish, followed: Followed, rendering: Rendering | None) -> bool:
    """Prompt for what is pending now, not at an earlier event. Return False if that is not possible."""
    followed.refresh()
    if not followed.is_waiting:
        return True
    run = followed.asking_run() if rendering is not None else None
    if run is None or rendering is None:
        return False
    asking.attend(client, run, rendering)
    return True
