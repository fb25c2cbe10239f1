"""The options common to all commands, accepted before or after the command name, and the command classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from kheish.client import Kheish


@dataclass(slots=True)
class Settings:
    """The values of the common options; commands receive them through `@pass_settings`."""

    state_root: str | None = None
    url: str | None = None
    output: str = "table"
    quiet: bool = False

    def client(self) -> Kheish:
        """Return a client for the daemon that the options name."""
        from kheish.client.sync import Kheish

        return Kheish(url=self.url, state_root=self.state_root)

    def root(self) -> Path:
        """Return the state root that the options name, for a command that works on its files.

        Raise UsageError for a remote daemon: its files are not here.
        """
        from kheish.client import discovery

        if self.url:
            raise click.UsageError(
                "This command works on the files of a local state root; pass --state-root, not --url."
            )
        return discovery.state_root(self.state_root)


#: the accepted forms of a revision
REV = "a commit, a tag, an event number (n:90412) or a time (@{2026-11-22T12:00:00Z})"

pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # If an option occurs before and after the command name, the later value applies; an absent one changes nothing.
    if value is not None and value is not False and param.name:
        setattr(ctx.ensure_object(Settings), param.name, value)


def _common() -> list[click.Parameter]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_note, is_eager=True, **more)

    return [
        option("--state-root", metavar="DIR", help="The state root (or KHEISH_STATE_ROOT)."),
        option("--url", metavar="URL", help="The URL of a remote daemon (or KHEISH_URL)."),
        option("--output", type=click.Choice(["table", "json", "yaml"]), help="The output format."),
        option("--quiet", "-q", is_flag=True, help="Print ids only."),
    ]


class Command(click.Command):
    """A command with the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_common()]


class Group(click.Group):
    """A group of commands about one noun."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, *_common()]


def command(name: str | None = None, **more: Any) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator like `click.command`, with the common options."""
    return click.command(name, cls=Command, **more)


def group(name: str | None = None, **more: Any) -> Callable[[Callable[..., Any]], Group]:
    """Return a decorator like `click.group`, with the common options."""
    return click.group(name, cls=Group, **more)


def exclusive(**given: object) -> None:
    """Raise UsageError if more than one of these options is given; each is named as in Python (`from_env`)."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} cannot be given together.")


def page_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--limit` and `--cursor` of lists."""
    function = click.option("--cursor", help="The cursor of the next page.")(function)
    return click.option("--limit", type=click.IntRange(1, 200), help="The maximum number of results (50).")(function)


def at_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--at REV`, which selects an earlier revision."""
    return click.option("--at", metavar="REV", help=f"At this revision: {REV}.")(function)


def worker_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--worker`: an id, or labels."""
    about = "The worker for its tools: an id, or labels:gpu,linux for the freest that has them."
    return click.option("--worker", metavar="ID|labels:L,…", callback=_worker, help=about)(function)


def _worker(context: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    name, colon, labels = text.partition(":")
    if not colon:
        return {"id": text}
    if name != "labels" or not all(labels.split(",")):
        raise click.BadParameter(f"{text!r}: write an id, or labels:ONE,TWO")
    return {"labels": labels.split(",")}
