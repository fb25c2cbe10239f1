"""The options that every command takes, before or after its name, and the command classes that know them."""

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
    """What the common options said; commands get it by `@pass_settings`."""

    state_root: str | None = None
    url: str | None = None
    output: str = "table"
    quiet: bool = False

    def client(self) -> Kheish:
        """A client for the daemon that the options name."""
        from kheish.client.sync import Kheish

        return Kheish(url=self.url, state_root=self.state_root)

    def root(self) -> Path:
        """The state root that the options name."""
        from kheish.client import discovery

        return discovery.state_root(self.state_root)


#: what people may write for a moment of the past
REV = "a commit, a tag, an event number (n:90412) or a time (@{2026-11-22T12:00:00Z})"

pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    # Given before and after the command, the later one counts; not given, it changes nothing.
    if value is not None and value is not False and param.name:
        setattr(ctx.ensure_object(Settings), param.name, value)


def _common() -> list[click.Parameter]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_note, is_eager=True, **more)

    return [
        option("--state-root", metavar="DIR", help="The state root (or KHEISH_STATE_ROOT)."),
        option("--url", metavar="URL", help="A daemon elsewhere (or KHEISH_URL)."),
        option("--output", type=click.Choice(["table", "json", "yaml"]), help="How to print answers."),
        option("--quiet", "-q", is_flag=True, help="Print ids only."),
    ]


class Command(click.Command):
    """A command that takes the common options too."""

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
    """Like `click.command`, with the common options."""
    return click.command(name, cls=Command, **more)


def group(name: str | None = None, **more: Any) -> Callable[[Callable[..., Any]], Group]:
    """Like `click.group`, with the common options."""
    return click.group(name, cls=Group, **more)


def page_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--limit` and `--cursor`, as lists take them."""
    function = click.option("--cursor", help="Where the next page begins.")(function)
    return click.option("--limit", type=click.IntRange(1, 200), help="How many (50).")(function)


def at_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--at REV`: what is shown, as it was then."""
    return click.option("--at", metavar="REV", help=f"As it was then: {REV}.")(function)
