"""`kheish assets`: list, show, add, text, save, remove, gc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import Column, counted, details, emit, fitting, listing, plain, say, when
from kheish.errors import Invalid

if TYPE_CHECKING:
    from kheish.client import Kheish

ASSET = click.argument("asset", type=Id("asset", "sha256:"))
_SHOWN = 19  # characters of an id in a table: enough to name it


def _text(asset: Any) -> str:
    derived = asset["derived"]
    if derived is not None:
        return f"{derived['chars']} characters"
    return "…" if asset["status"] == "pending" else "-"


COLUMNS: list[Column] = [
    ("ASSET", lambda asset: asset["asset_id"][:_SHOWN]),
    ("NAME", "name"),
    ("TYPE", "media_type"),
    ("BYTES", "bytes"),
    ("TEXT", _text),
    ("USED", lambda asset: len(asset["references"])),
    ("STORED", lambda asset: when(asset["created_at"])),
]


@group()
def assets() -> None:
    """List, show, add, save and remove stored files, and their text."""


@assets.command("list")
@click.option("--session", type=Id("session"), help="Only assets that this session uses.")
@click.option("--type", "media_type", metavar="TYPE", help="Only assets of this type, such as text/markdown.")
@page_options
@pass_settings
def list_(
    settings: Settings, session: str | None, media_type: str | None, limit: int | None, cursor: str | None
) -> None:
    """List assets, newest first."""
    page = settings.client().assets.list(session=session, media_type=media_type, limit=limit, cursor=cursor)
    none = fitting("No assets; store one with `kheish assets add FILE`.", session, media_type)
    listing(settings, page, "asset_id", COLUMNS, none)


@assets.command()
@ASSET
@pass_settings
def show(settings: Settings, asset: str) -> None:
    """Show an asset, with its newest users."""
    found = settings.client().assets.get(asset)
    emit(settings, found, ids=[found["asset_id"]], human=lambda: details({**found}))


@assets.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option("--type", "media_type", metavar="TYPE", help="The type that the content should have.")
@click.option("--name", help="Another name than that of the file.")
@pass_settings
def add(settings: Settings, files: tuple[str, ...], media_type: str | None, name: str | None) -> None:
    """Store files (`-`: stdin, with --name), and print their ids."""
    if name is not None and len(files) > 1:
        raise click.UsageError("--name names one file.")
    stored = [upload(settings.client(), file, media_type, name) for file in files]

    def human() -> None:
        for one in stored:
            say(f"{one['asset_id']}  {plain(one['name'])}, {one['media_type']}, {_told(one)}")

    emit(settings, stored[0] if len(stored) == 1 else stored, ids=[one["asset_id"] for one in stored], human=human)


def upload(client: Kheish, file: str, media_type: str | None = None, name: str | None = None) -> Any:
    """Store a file, and return the asset. Raises Invalid if the file cannot be read."""
    if file == "-" and name is None:
        raise click.UsageError("A file from stdin needs --name.")
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Invalid(f"Cannot read {file}: {error.strerror}.") from error
    from kheish.client.uploads import store_asset

    return client.send(store_asset(name or Path(file).name, content, media_type=media_type))


def _told(asset: Any) -> str:
    if asset["derived"] is not None:
        return _text(asset)
    return "its text follows" if asset["status"] == "pending" else plain(asset["why"] or "no text")


@assets.command()
@ASSET
@pass_settings
def text(settings: Settings, asset: str) -> None:
    """Print the text that was derived from an asset."""
    content = settings.client().assets.text(asset)
    emit(settings, {"asset_id": asset, "text": content}, ids=[asset], human=lambda: say(plain(content)))


@assets.command()
@ASSET
@click.argument("file", metavar="FILE")
@pass_settings
def save(settings: Settings, asset: str, file: str) -> None:
    """Write the content of an asset to FILE, which must not exist."""
    content = settings.client().assets.raw(asset)
    try:
        with Path(file).open("xb") as target:
            target.write(content)
    except OSError as error:
        raise Invalid(f"Cannot write {file}: {error.strerror}.") from error
    emit(settings, {"asset_id": asset, "file": file}, ids=[asset], human=lambda: say(f"Written to {file}."))


@assets.command()
@ASSET
@pass_settings
def remove(settings: Settings, asset: str) -> None:
    """Remove an asset that nothing uses."""
    settings.client().assets.delete(asset)
    emit(settings, {}, ids=[asset], human=lambda: say(f"The asset {asset} is removed."))


@assets.command()
@click.option("--remove", "removes", is_flag=True, help="Remove them, instead of listing them only.")
@click.option("--older-than", metavar="TIME", help="Keep what was stored in this time (1d).")
@pass_settings
def gc(settings: Settings, removes: bool, older_than: str | None) -> None:
    """List the assets that nothing uses, or remove them."""
    given: Any = {"older_than": older_than} if older_than is not None else {}
    found = settings.client().assets.gc(dry_run=not removes, **given)
    items = found["items"]

    def human() -> None:
        for one in items:
            say(f"{one['asset_id'][:_SHOWN]}  {plain(one['name'])}, {one['bytes']} bytes")
        size = f"{counted(len(items), 'asset')}, {found['bytes']} bytes"
        if removes:
            say(f"Removed: {size}.")
        else:
            say(f"Unused: {size}." + (" Remove them with --remove." if items else ""))

    emit(settings, found, ids=[one["asset_id"] for one in items], human=human)
