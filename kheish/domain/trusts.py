"""The ledger of trust: for each Definition that may do something by itself, the digest that a user has reviewed.

It is bound to the content: any edit takes the trust away. Playbooks have a ledger of their own, since a
release is their trust (`playbooks/trust.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from kheish.domain import events
from kheish.domain.events import Entry, frozen
from kheish.domain.events.trust import TRUST
from kheish.domain.shown import View
from kheish.state import pins
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Trusted:
    """The newest trust in a Definition."""

    definition: str
    digest: str
    by: str
    at: str
    reason: str | None
    made: int
    n: int
    via: Literal["api", "git"] = "git"
    files: dict[str, str] = field(default_factory=dict)


def fold(table: dict[str, Trusted], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event = entry.event
    assert isinstance(event, events.DefinitionTrusted)
    old = table.get(event.definition)
    table[event.definition] = Trusted(
        definition=event.definition,
        digest=event.digest,
        by=event.by,
        at=entry.at,
        reason=event.reason,
        made=old.made if old is not None else entry.n,
        n=entry.n,
        via=event.via,
        files=event.files,
    )
    return (event.definition,)


@frozen
class TrustedView(View):
    """The newest trust in a Definition."""

    definition: str
    digest: str
    by: str
    at: str
    reason: str | None
    made: int
    n: int
    via: Literal["api", "git"] = "git"
    files: dict[str, str] = field(default_factory=dict)
    """The files that it names, with their digests."""


def view(trusted: Trusted) -> TrustedView:
    """Return the trust as the index stores it."""
    return TrustedView(
        definition=trusted.definition,
        digest=trusted.digest,
        by=trusted.by,
        at=trusted.at,
        reason=trusted.reason,
        made=trusted.made,
        n=trusted.n,
        via=trusted.via,
        files=trusted.files,
    )


def read(document: dict[str, Any]) -> Trusted:
    """Return the trust that a document of the index describes."""
    return Trusted(**document)


NOUN = Noun(
    name="trusted_definition",
    cls=Trusted,
    folded=frozenset({events.DefinitionTrusted}),
    fold=lambda tables, entry: fold(tables[Trusted], entry),
    keep=always,  # an owner is a Definition, so it has a single value
    view=view,
    status=lambda _: "trusted",
    read=read,
)


async def find(state: State, definition: str) -> Trusted | None:
    """Return the trust in a Definition, whatever its content is now. Raises Unavailable."""
    async with pins.owner(state, TRUST, definition):
        return state.find(Trusted, definition)


async def is_trusted(state: State, definition: str, digest: str) -> bool:
    """Return whether a user has trusted this content."""
    trusted = await find(state, definition)
    return trusted is not None and trusted.digest == digest


async def trust(
    state: State,
    definition: str,
    digest: str,
    *,
    by: str,
    commands: Iterable[str],
    reason: str | None = None,
    via: Literal["api", "git"] = "git",
    again: bool = False,
    files: Mapping[str, str] | None = None,
) -> None:
    """Record that a user trusts this content. `again`: even if it is trusted, since the user has reviewed something
    that the digest does not cover."""
    async with pins.owner(state, TRUST, definition):
        old = state.find(Trusted, definition)
        if again or old is None or (old.digest, old.files) != (digest, files or {}):
            event = events.DefinitionTrusted(
                definition=definition, digest=digest, by=by, commands=tuple(commands), reason=reason, via=via,
                files=dict(files or {}),
            )  # fmt: skip
            state.append(event.on(by=by))
