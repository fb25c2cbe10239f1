"""The commands common to the files at the top of the state root: put, edit, history, restore."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.definitions import read_file, revised
from kheish.cli.options import REV, Group, Settings, page_options, pass_settings
from kheish.cli.output import emit, listing, say

if TYPE_CHECKING:
    from kheish.client.call import Text
    from kheish.client.shapes import Commit, Page
    from kheish.client.sync import Kheish


class Calls(ABC):
    """The calls of the client for one file; subclasses name them."""

    path = ""

    def __init__(self, client: Kheish) -> None:
        self.client = client

    @abstractmethod
    def text(self) -> Text:
        """Return the file as it is stored."""

    @abstractmethod
    def put(self, content: str, if_match: str | None, if_none_match: str | None = None) -> Mapping[str, Any]:
        """Create or replace the file."""

    @abstractmethod
    def history(self, limit: int | None, cursor: str | None) -> Page[Commit]:
        """Return the commits that changed the file."""

    @abstractmethod
    def restore(self, rev: str) -> Mapping[str, Any]:
        """Replace the file with its version of a commit."""


def add(root: Group, calls: type[Calls], *, edits: bool = True) -> None:
    """Add the commands to a group."""
    path = calls.path

    @root.command(help=f"Replace {path} with FILE (`-`: stdin), stored as written.")
    @click.argument("file", default="-")
    @pass_settings
    def put(settings: Settings, file: str) -> None:
        _stored(settings, path, calls(settings.client()).put(read_file(file), None))

    @root.command(help=f"List the commits that changed {path}, newest first.")
    @page_options
    @pass_settings
    def history(settings: Settings, limit: int | None, cursor: str | None) -> None:
        page = calls(settings.client()).history(limit, cursor)
        columns = (
            ("COMMIT", lambda one: one["commit"][:12]),
            ("TIME", lambda one: dt.datetime.fromtimestamp(one["time"], dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
            ("AUTHOR", lambda one: one["author"]["name"]),
            ("SUBJECT", lambda one: one["message"].partition("\n")[0]),
        )
        listing(settings, page, "commit", columns, f"No commit has {path} yet.")

    @root.command(help=f"Replace {path} with its version of REV: {REV}.")
    @click.argument("rev")
    @pass_settings
    def restore(settings: Settings, rev: str) -> None:
        _stored(settings, path, calls(settings.client()).restore(rev))

    if edits:
        _add_edit(root, calls)


def _add_edit(root: Group, calls: type[Calls]) -> None:
    @root.command(help=f"Edit {calls.path} in your editor (EDITOR). Only a valid file is saved.")
    @pass_settings
    def edit(settings: Settings) -> None:
        from kheish.errors import NotFound

        file = calls(settings.client())
        try:
            before = file.text()
        except NotFound:
            before = None
        text, etag = (before.text, before.etag) if before is not None else ("", None)
        suffix = f".{file.path.rpartition('.')[2]}"
        found = revised(text, suffix, lambda new: file.put(new, etag, None if before is not None else "*"))
        if found is None:
            return click.echo("No changes.", err=True)
        return _stored(settings, file.path, found)


def _stored(settings: Settings, path: str, document: Mapping[str, Any]) -> None:
    emit(settings, document, ids=[path], human=lambda: say(f"{path} is stored and in effect."))
