"""`kheish completion SHELL`: the completion script of a shell."""

from __future__ import annotations

import click

from kheish.cli.options import command
from kheish.cli.output import say

_USE = {
    "bash": 'eval "$(kheish completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(kheish completion zsh)"   # in ~/.zshrc',
    "fish": "kheish completion fish > ~/.config/fish/completions/kheish.fish",
}


@command(epilog="\b\n" + "\n".join(_USE.values()))
@click.argument("shell", type=click.Choice(sorted(_USE)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    from kheish.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(cli, {}, "kheish", "_KHEISH_COMPLETE").source())
