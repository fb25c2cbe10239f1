"""`kheish permissions check TOOL ARGS`: the decision on a call and its reason, without running the call."""

from __future__ import annotations

import json
from typing import Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import details, emit

#: the argument that a bare text sets
_MAIN = {
    "bash": "command",
    "shell_task_start": "command",
    "web_fetch": "url",
    "grep_search": "pattern",
    "glob_search": "pattern",
}


@group()
def permissions() -> None:
    """Explain the decision on a tool call."""


@permissions.command()
@click.argument("tool")
@click.argument("arguments", metavar="ARGS...", nargs=-1)
@click.option("--session", type=Id("session"), help="Use the mode, rules and workspace of this session.")
@pass_settings
def check(settings: Settings, tool: str, arguments: tuple[str, ...], session: str | None) -> None:
    """Print whether a call of TOOL with ARGS would be allowed, need approval, or be denied.

    ARGS is a JSON object, `name=value` words, or the main argument itself, such as a command for bash.
    """
    found = settings.client().permissions.check(tool, arguments_of(tool, arguments), session=session)
    emit(settings, found, ids=[str(found.get("decision"))], human=lambda: details(found))


def arguments_of(tool: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments that the words specify."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            found = json.loads(words[0])
        except ValueError as error:
            raise click.UsageError(f"ARGS is not JSON: {error}.") from error
        if isinstance(found, dict):
            return found
    main = _MAIN.get(tool, "path")
    pairs = [word.partition("=") for word in words]
    if main != "command" and words and all(equals and name.isidentifier() for name, equals, _ in pairs):
        return {name: value for name, _, value in pairs}
    return {main: " ".join(words)} if words else {}
