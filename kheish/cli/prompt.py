"""`kheish prompt`: the operator's base prompt, instructions.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kheish.cli import top_files
from kheish.cli.options import Settings, group, pass_settings
from kheish.cli.output import emit, plain, say

if TYPE_CHECKING:
    from kheish.client.call import Text
    from kheish.client.shapes import Commit, Page


class _File(top_files.Calls):
    path = "instructions.md"

    def text(self) -> Text:
        return self.client.prompt.text()

    def put(self, content: str, if_match: str | None, if_none_match: str | None = None) -> Mapping[str, Any]:
        return self.client.prompt.put(content, if_match=if_match, if_none_match=if_none_match)

    def history(self, limit: int | None, cursor: str | None) -> Page[Commit]:
        return self.client.prompt.history(limit=limit, cursor=cursor)

    def restore(self, rev: str) -> Mapping[str, Any]:
        return self.client.prompt.restore(rev)


@group()
def prompt() -> None:
    """Show and edit the base prompt of all agents (instructions.md)."""


@prompt.command()
@pass_settings
def show(settings: Settings) -> None:
    """Show instructions.md as written."""
    client = settings.client()
    if settings.output == "table":
        return say(plain(client.prompt.text().text.rstrip("\n")))
    return emit(settings, client.prompt.get(), ids=[], human=lambda: None)


top_files.add(prompt, _File)
