"""`kheish outputs`: manage the files of outputs, send a sample, switch one on again."""

from __future__ import annotations

import click

from kheish.cli.definitions import commands, json_object
from kheish.cli.options import Settings, pass_settings
from kheish.cli.output import emit, plain, say

outputs = commands("outputs", "output", "Manage the places that outputs are delivered to, and test them.")


@outputs.command()
@click.argument("name")
@click.argument("text", required=False)
@click.option("--target", default="{}", metavar="JSON", help="The address, where the file has none.")
@pass_settings
def test(settings: Settings, name: str, text: str | None, target: str) -> int:
    """Send a sample to an output, once."""
    given = json_object(target, "The target", '{"channel": "C123"}')
    done = settings.client().outputs.test(name, target=given, content=text)
    took = f"{done['duration_ms']} ms"
    line = f"{name}: sent ({took})" if done["ok"] else f"{name}: not sent: {done['error']} ({took})"
    emit(settings, done, ids=[name], human=lambda: say(plain(line)))
    return 0 if done["ok"] else 1


@outputs.command()
@click.argument("name")
@pass_settings
def enable(settings: Settings, name: str) -> None:
    """Switch an output on again that its receiver switched off (410)."""
    done = settings.client().outputs.enable(name)
    line = f"{name} is on. Its dead letters: kheish deliveries replay --all --to {name}"
    emit(settings, done, ids=[name], human=lambda: say(plain(line)))
