"""`kheish permissions`: permissions.yaml, the matrix of a session, and the decision on a single call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli import top_files
from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import Column, details, emit, plain, say, table

if TYPE_CHECKING:
    from kheish.client.call import Text
    from kheish.client.shapes import Commit, Page

#: the argument that a bare text sets
_MAIN = {
    "bash": "command",
    "shell_task_start": "command",
    "web_fetch": "url",
    "grep_search": "pattern",
    "glob_search": "pattern",
}
#: columns of the matrix
_MATRIX: tuple[Column, ...] = (
    ("TOOL", "tool"),
    ("EFFECT", "effect"),
    ("DECISION", "decision"),
    ("BY", "origin"),
    ("UNLESS", lambda one: "; ".join(f"{rule['decision']}: {rule['match']}" for rule in one["conditional"])),
)


class _File(top_files.Calls):
    path = "permissions.yaml"

    def text(self) -> Text:
        return self.client.permissions.text()

    def put(self, content: str, if_match: str | None, if_none_match: str | None = None) -> Mapping[str, Any]:
        return self.client.permissions.put(content, if_match=if_match, if_none_match=if_none_match)

    def history(self, limit: int | None, cursor: str | None) -> Page[Commit]:
        return self.client.permissions.history(limit=limit, cursor=cursor)

    def restore(self, rev: str) -> Mapping[str, Any]:
        return self.client.permissions.restore(rev)


@group()
def permissions() -> None:
    """Show, edit and restore permissions.yaml; explain decisions."""


@permissions.command()
@click.option("--session", type=Id("session"), help="Show the decision on each tool in this session.")
@pass_settings
def show(settings: Settings, session: str | None) -> None:
    """Show permissions.yaml as written, or with --session the decision on each tool."""
    client = settings.client()
    if session is None and settings.output == "table":
        return say(plain(client.permissions.text().text.rstrip("\n")))
    found = client.permissions.get(session=session)
    tools: list[dict[str, Any]] = found.get("tools", [])
    return emit(settings, found, ids=[one["tool"] for one in tools], human=lambda: table(tools, _MATRIX))


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


top_files.add(permissions, _File)
