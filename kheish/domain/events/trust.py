"""Events of trust: entries of the stream `trust`, each about one Definition."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from kheish.state.event import Event, frozen

TRUST = "trust"


@frozen
class DefinitionTrusted(Event):
    """A user's word that the content with this digest may do what it names. Another content is not trusted."""

    kind = "definition.trusted"
    stream = TRUST
    owned_by = "definition"
    headline = "trusted: {definition}"
    definition: str  # skills/pdf, mcp/every
    digest: str
    by: str
    commands: tuple[str, ...] = ()
    reason: str | None = None
    files: dict[str, str] = field(default_factory=dict)  # the files that it names, with their digests
    via: Literal["api", "git"] = "git"  # api: the content was written by its user
