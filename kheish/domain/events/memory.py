"""Events of memory: the ledger of origins (`journals/memory`), proposals of agents, and records of ended runs."""

from __future__ import annotations

from typing import Literal

from kheish.state.event import Event, Text, frozen

MEMORY = "memory"
Origin = Literal["person", "agent"]
#: the change that an entry of the ledger records; `accepted` and `revoked` change the origin only
Change = Literal["written", "removed", "renamed", "accepted", "revoked"]
Via = Literal["edit", "git", "api", "tool", "proposal"]
Operation = Literal["write", "remove", "rename"]


@frozen
class MemoryChanged(Event):
    """A change of a memory file, recorded before the file is written. `digest` is the sha256 of the content that it is
    about: of the new content, or of the removed one. `before` is the digest that it replaced."""

    kind = "memory.changed"
    stream = MEMORY
    owned_by = "digest"
    headline = "memory {change}: {path}"
    path: str
    digest: str
    change: Change
    origin: Origin
    via: Via
    by: str
    run: str | None = None
    session: str | None = None
    tainted: bool = False
    before: str | None = None
    new_path: str | None = None  # with `renamed`


@frozen
class MemoryProposed(Event):
    """A change of memory that an agent proposes. `content` is the whole new content, `before` the digest of the content
    that the agent saw; `diff` shows the change to a user, cut if it is long."""

    kind = "memory.proposed"
    headline = "memory proposed: {path}"
    spillable = ("content",)
    proposal_id: str
    path: str
    place: str  # the folder of the file
    operation: Operation
    diff: str
    is_whole: bool
    content: Text | None = None
    before: str | None = None
    new_path: str | None = None  # with `rename`
    tainted_by: str | None = None


@frozen
class MemoryDecided(Event):
    """The decision of a user on a proposal."""

    kind = "memory.decided"
    headline = "memory proposal {outcome}: {proposal_id}"
    proposal_id: str
    outcome: Literal["accepted", "rejected"]
    by: str
    via: Literal["api", "file"]
    reason: str | None = None


@frozen
class MemoryRecorded(Event):
    """A record of an ended run: its request, its outcome, the files it changed, and what failed."""

    kind = "memory.recorded"
    text: str


@frozen
class MemoryLoaded:
    """A memory file whose content or index line was in a prompt."""

    path: str
    digest: str
    loaded: Literal["whole", "index"]
