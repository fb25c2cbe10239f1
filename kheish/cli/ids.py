"""Ids on the command line: whole, shortened to a unique beginning, or `last`; and their completion by the shell."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.options import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kheish.client import Kheish

#: what a list of each noun is called by the client, the field of its id, and the beginning of each id ("" for names)
_NOUNS: Mapping[str, tuple[Callable[[Kheish], Any], str, str]] = {
    "session": (lambda client: client.sessions, "session_id", ""),
    "run": (lambda client: client.runs, "run_id", "run_"),
    "approval": (lambda client: client.approvals, "approval_id", "appr_"),
    "question": (lambda client: client.questions, "question_id", "q_"),
    "flow": (lambda client: client.flows, "flow_id", "flow_"),
    "route": (lambda client: client.definitions("routes"), "id", ""),
    "persona": (lambda client: client.definitions("personas"), "id", ""),
}
#: nouns of which commands take only those that are open, as a rule
_OPEN: Mapping[str, str] = {"approval": "pending", "question": "pending"}
_COMPLETED = 50
_GENERATED = "session_"
_ULID = re.compile(r"[0-9a-z]{26}")


class Id(click.ParamType[str]):
    """An id of one noun. `last` stands for the newest, a unique beginning (with or without `run_`) for the whole.

    Sessions have names of their users' choice, so only generated ones are shortened, and a session that is called
    `last` comes first. `makes`: the command makes what is missing, so every name stands for itself.
    """

    def __init__(self, noun: str, *, makes: bool = False) -> None:
        self.name = noun
        self._makes = makes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the whole id. Raises BadParameter where none or several begin so, and what the client raises."""
        _, _, prefix = _NOUNS[self.name]
        text = str(value)
        if self.name == "session" and (text == "last" or text.startswith(_GENERATED)) and not self._makes:
            prefix = _GENERATED
        elif not prefix:
            return text
        if _ULID.fullmatch(text.removeprefix(prefix)):
            return prefix + text.removeprefix(prefix)
        return self._whole(text, prefix, ctx) if ctx else text

    def _whole(self, text: str, prefix: str, ctx: click.Context) -> str:
        client = ctx.ensure_object(Settings).client()
        if text == "last":
            if self.name == "session" and "last" in _ids(client, "session", "last", 1):
                return text
            matches = _ids(client, self.name, "", 1)
            if not matches:
                self.fail(f"there is no {self.name} yet")
            return matches[0]
        begins = text if text.startswith(prefix) else prefix + text
        matches = _ids(client, self.name, begins, 4)
        if len(matches) > 1 and begins not in matches:
            more = ", …" if len(matches) > 3 else ""
            self.fail(f"several begin with {text!r}: {', '.join(matches[:3])}{more}")
        return matches[0] if len(matches) == 1 else text  # the daemon says what it thinks of an unknown one

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids that begin so, newest first, with `last`; none where no daemon answers."""
        from click.shell_completion import CompletionItem

        from kheish.errors import KheishError

        try:
            client, filters = ctx.ensure_object(Settings).client(), self._filters(ctx)
            ids = _ids(client, self.name, incomplete, _COMPLETED, **filters)
            knows_last = not self._makes and (self.name == "session" or bool(_NOUNS[self.name][2]))
            if knows_last and "last".startswith(incomplete) and "last" not in ids:
                ids += ["last"] if ids or _ids(client, self.name, "", 1, **filters) else []
        except KheishError:
            return []
        return [CompletionItem(id) for id in ids]

    def _filters(self, ctx: click.Context) -> dict[str, str]:
        """Return the filters of what a command takes: `show` takes every approval, the others take open ones."""
        is_open = self.name in _OPEN and ctx.info_name != "show"
        return {"status": _OPEN[self.name]} if is_open else {}


def _ids(client: Kheish, noun: str, begins: str, limit: int, **filters: str) -> list[str]:
    resource, field, prefix = _NOUNS[noun]
    if noun in ("route", "persona"):
        return [one[field] for one in resource(client).list(limit=200)["items"] if one[field].startswith(begins)]
    begins = prefix if prefix.startswith(begins) else begins
    items = resource(client).list(limit=limit, id_prefix=begins if begins != prefix else None, **filters)["items"]
    return [one[field] for one in items]
