"""Headlines of the daemon's commits: what `git log` shows of the events that are worth a commit (`Event.headline`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kheish.domain import events
from kheish.domain.events import Entry

HEADLINES = 64
TRAILERS = 20
#: events of the versions of Playbooks
PLAYBOOKS = (
    events.PlaybookPublished,
    events.PlaybookReleased,
    events.PlaybookTampered,
    events.PlaybookIntact,
)
#: events that record a user's edit, and belong in its commit
EDITS = (events.DefinitionChanged, events.SecretChanged)


def is_edit(event: events.Event) -> bool:
    """Return whether an event records a user's edit, and belongs in its commit."""
    return isinstance(event, EDITS) or (isinstance(event, events.MemoryChanged) and event.origin == "person")


def headline(entry: Entry, asked: Callable[[str | None], str], named: Callable[[str], str]) -> str:
    """Return the headline of an entry, or an empty text.

    Its template may have fields and properties of the event, `{session}`, `{request}` (`asked` returns that of a run)
    and `{flow}` (`named` returns the Playbook of a Flow).
    """
    event: Any = entry.event

    class Words(dict[str, object]):
        def __missing__(self, name: str) -> object:
            match name:
                case "session":
                    return entry.session
                case "request":
                    return asked(entry.run)
                case "flow":
                    return named(event.flow_id)
            return getattr(event, name)

    return str(event.headline).format_map(Words())
