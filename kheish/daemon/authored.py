"""Changes of memory, in the form in which the git worker commits them."""

from __future__ import annotations

from typing import Any

from kheish.runtime.memory.keeper import Committed

_DOMAIN = "kheish.invalid"
_NAMED = 4  # paths in a subject


def frame(change: Committed) -> dict[str, Any]:
    """Return the change with its author and its message (`store.git.authored`)."""
    author, is_users = change.author, change.author.origin == "person"
    name = author.by.removeprefix("agent:")
    named = list(change.contents)
    paths = ", ".join(named) if len(named) <= _NAMED else f"{len(named)} files"
    trailers = {"Kheish-Session": author.session_id, "Kheish-Run": author.run_id, "Kheish-Actor": author.by}
    lines = [f"{key}: {value}" for key, value in trailers.items() if value]
    return {
        "author": None if is_users else [name, f"{name}@{_DOMAIN}"],
        "message": "\n".join([f"{'edit' if is_users else 'memory'}: {paths}", "", *lines]) + "\n",
        "before": change.before,
        "contents": change.contents,
    }
