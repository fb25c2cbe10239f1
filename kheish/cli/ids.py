"""Ids on the command line: complete, shortened to a unique prefix, or `last`; with shell completion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from kheish.cli.options import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from kheish.client import Kheish

#: for each noun: its resource in the client, the field of its id, and the prefix of its ids ("" for names)
_NOUNS: Mapping[str, tuple[Callable[[Kheish], Any], str, str]] = {
    "session": (lambda client: client.sessions, "session_id", ""),
    "run": (lambda client: client.runs, "run_id", "run_"),
    "approval": (lambda client: client.approvals, "approval_id", "appr_"),
    "question": (lambda client: client.questions, "question_id", "q_"),
    "agent": (lambda client: client.agents, "agent_id", "agent_"),
    "flow": (lambda client: client.flows, "flow_id", "flow_"),
    "route": (lambda client: client.definitions("routes"), "id", ""),
    "persona": (lambda client: client.definitions("personas"), "id", ""),
}
#: nouns of which most commands accept only open ones, and the status of those
_OPEN: Mapping[str, str] = {"approval": "pending", "question": "pending"}
_COMPLETED = 50
_GENERATED = "session_"
_ULID = re.compile(r"[0-9a-z]{26}")


class Id(click.ParamType[str]):
    """An id of one noun: `last` resolves to the newest, and a unique prefix (with or without `run_`) to the full id.

    Users choose the names of sessions, so only generated names are resolved, and a session named `last` takes
    precedence. `makes`: the command creates a missing session, so names are taken literally.
    """

    def __init__(self, noun: str, *, makes: bool = False) -> None:
        self.name = noun
        self._makes = makes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the full id. Raise BadParameter for an ambiguous prefix, and the errors of the client."""
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
            self.fail(f"{text!r} is ambiguous: {', '.join(matches[:3])}{more}")
        return matches[0] if len(matches) == 1 else text  # the daemon reports an unknown id

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids with this prefix, newest first, and `last`; an empty list if no daemon answers."""
        from click.shell_completion import CompletionItem

        from kheish.errors import KheishError

        try:
            client, filters = ctx.ensure_object(Settings).client(), self._filters(ctx)
            ids = _ids(client, self.name, incomplete, _COMPLETED, **filters)
            has_last = not self._makes and (self.name == "session" or bool(_NOUNS[self.name][2]))
            if has_last and "last".startswith(incomplete) and "last" not in ids:
                ids += ["last"] if ids or _ids(client, self.name, "", 1, **filters) else []
        except KheishError:
            return []
        return [CompletionItem(id) for id in ids]

    def _filters(self, ctx: click.Context) -> dict[str, str]:
        """Return the list filters of the command: `show` accepts every approval, other commands only open ones."""
        is_open = self.name in _OPEN and ctx.info_name != "show"
        return {"status": _OPEN[self.name]} if is_open else {}


def _ids(client: Kheish, noun: str, begins: str, limit: int, **filters: str) -> list[str]:
    resource, field, prefix = _NOUNS[noun]
    if noun in ("route", "persona"):
        return [one[field] for one in resource(client).list(limit=200)["items"] if one[field].startswith(begins)]
    begins = prefix if prefix.startswith(begins) else begins
    items = resource(client).list(limit=limit, id_prefix=begins if begins != prefix else None, **filters)["items"]
    return [one[field] for one in items]
