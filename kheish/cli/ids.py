"""Ids on the command line: complete, shortened to a unique prefix, or `last`; with shell completion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.options import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kheish.client import Kheish

_COMPLETED = 50
_ULID = re.compile(r"[0-9a-z]{26}")


class Id(click.ParamType[str]):
    """An id of one noun: `last` resolves to the newest, and a unique prefix (with or without `run_`) to the full id.

    The noun's resource in the client is `<noun>s`, and the field of its id `<noun>_id`. `prefix` is that of its ids.
    `status` limits the ids that are completed: most commands accept only open approvals.

    Users choose the names of sessions, so only generated names are resolved, and a session named `last` takes
    precedence. `makes`: the command creates a missing session, so names are taken literally.
    """

    def __init__(self, noun: str, prefix: str | None = None, *, status: str | None = None, makes: bool = False) -> None:
        self.name = noun
        self._prefix = prefix or f"{noun}_"
        self._filters = {"status": status} if status else {}
        self._is_chosen = noun == "session"  # by users
        self._makes = makes
        self._has_last = not makes  # among the completions

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the full id. Raise BadParameter for an ambiguous prefix, and the errors of the client."""
        text = str(value)
        if not (text if self._is_chosen else text.removeprefix(self._prefix)).strip():
            self.fail(f"{text!r} is no id; name the {self.name}{'' if self._makes else ', its beginning or `last`'}")
        if self._is_chosen and (self._makes or not (text == "last" or text.startswith(self._prefix))):
            return text
        id = self._prefix + text.removeprefix(self._prefix)
        if _ULID.fullmatch(id.removeprefix(self._prefix)):
            return id
        return self._whole(text, id, ctx) if ctx else text

    def _whole(self, text: str, id: str, ctx: click.Context) -> str:
        client = ctx.ensure_object(Settings).client()
        if text == "last":
            if self._is_chosen and "last" in self._ids(client, "last", 1):
                return text
            matches = self._ids(client, "", 1)
            if not matches:
                self.fail(f"there is no {self.name} yet")
            return matches[0]
        matches = self._ids(client, id, 4)
        if len(matches) > 1 and id not in matches:
            more = ", …" if len(matches) > 3 else ""
            self.fail(f"{text!r} is ambiguous: {', '.join(matches[:3])}{more}")
        return matches[0] if len(matches) == 1 else text  # the daemon reports an unknown id

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids with this prefix, newest first, and `last`; an empty list if no daemon answers."""
        from click.shell_completion import CompletionItem

        from kheish.errors import KheishError

        try:
            client = ctx.ensure_object(Settings).client()
            ids = self._ids(client, incomplete, _COMPLETED, **self._filters)
            if self._has_last and "last".startswith(incomplete) and "last" not in ids:
                ids += ["last"] if ids or self._ids(client, "", 1, **self._filters) else []
        except KheishError:
            return []
        return [CompletionItem(id) for id in ids]

    def _ids(self, client: Kheish, begins: str, limit: int, **filters: str) -> list[str]:
        """Return the newest ids with a prefix. No prefix is sent if all ids of the noun have it."""
        is_all = not self._is_chosen and self._prefix.startswith(begins)
        resource: Any = getattr(client, f"{self.name}s")
        items = resource.list(limit=limit, id_prefix=None if is_all or not begins else begins, **filters)["items"]
        return [one[f"{self.name}_id"] for one in items]


class Name(Id):
    """The name of a Definition of one kind (`routes`), with completion."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind.removesuffix("s"))
        self._kind = kind
        self._has_last = False

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it was typed."""
        return str(value)

    def _ids(self, client: Kheish, begins: str, limit: int, **filters: str) -> list[str]:
        items = client.definitions(self._kind).list(limit=200)["items"]
        return [one["id"] for one in items if one["id"].startswith(begins)]
