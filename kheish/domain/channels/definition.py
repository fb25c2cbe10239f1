"""The file of a channel, `channels/<id>.yaml`: its members, and the rules by which agents get turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kheish import ids
from kheish.domain.routes import Slug
from kheish.domain.scripts import Duration
from kheish.texts import fold, is_blank, is_line

Participation = Literal["manual_only", "selected_only", "prefer_selected", "always_listen"]
Announced = Literal["task_completed", "schedule_result", "agent_result"]
MEMBERS, TAGS = 200, 50
NAME_CHARACTERS = 80
#: seconds of the shortest lease: a run needs time to start
LEAST_LEASE = 1.0


def is_name(text: str) -> bool:
    """Return whether a text may be the name of a member, or a tag."""
    is_shown = is_line(text) and text == text.strip() and not is_blank(text)
    return is_shown and len(text) <= NAME_CHARACTERS and not text.startswith(("@", "#"))


def _printable(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text!r} must be one line without spaces around it, and without @ or # before it")
    return text


def _lease(text: str) -> str:
    if ids.duration(text) < LEAST_LEASE:
        raise ValueError(f"{text!r} is too short; write {LEAST_LEASE:g}s at least")
    return text


Name = Annotated[str, AfterValidator(_printable), Field(max_length=NAME_CHARACTERS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class MemberFile(_Part):
    """A member: the person of a token, or the agent of a session."""

    member: Slug
    """The id of the member in this channel; `@id` addresses it."""
    kind: Literal["human", "agent"]
    """`human`: a person with a token; `agent`: the agent of a session."""
    session: Slug | None = None
    """An agent's session, where its turns run."""
    person: str | None = Field(default=None, min_length=1, max_length=200)
    """A human's name as a person, as in their tokens."""
    name: Name | None = None
    """The name shown to others; `@name` addresses it too. Without it: the persona's name of an agent, or the id."""
    role: str | None = Field(default=None, max_length=200)
    """The part of the member in the channel, in a few words. Agents read it."""
    tags: Annotated[tuple[Name, ...], Field(max_length=TAGS)] = ()
    """Subjects of the member. A message with such a word is for it, if its participation is `prefer_selected`."""
    participation: Participation | None = None
    """The messages to which an agent speaks; without it, `default_participation`."""
    muted: bool = False
    """Whether an agent gets no turns."""

    @model_validator(mode="after")
    def _one_identity(self) -> MemberFile:
        wanted, other = ("session", "person") if self.kind == "agent" else ("person", "session")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise ValueError(f"a member of kind {self.kind} has a {wanted}, and no {other}")
        if self.kind == "human" and (self.participation is not None or self.muted):
            raise ValueError("participation and muted are for agents; people speak when they like")
        return self


class ChannelPolicy(_Part):
    """The rules of turns."""

    speakers: int = Field(default=1, ge=1, le=20)
    """The number of agents that speak at the same time."""
    replies: int = Field(default=3, ge=0, le=100)
    """The number of agents' messages to one message of a person; 0: agents never speak."""
    cooldown: Duration = "15s"
    """The time after an agent's message in which it gets no turn; `0s`: none."""
    lease: Annotated[Duration, AfterValidator(_lease)] = "60s"
    """The time of a turn. It is extended while its run lives and no other agent waits."""
    agent_mentions: Literal["off", "spend"] = "off"
    """`spend`: an agent that another one mentions speaks next, within the same number of replies."""
    posts_per_hour: int = Field(default=60, ge=1, le=1000)
    """The number of agents' messages in an hour. The next one would pause the channel."""


class ChannelFile(_Part):
    """A channel: a conversation of people and agents."""

    title: str | None = Field(default=None, max_length=500)
    """The name shown to people."""
    purpose: str | None = Field(default=None, max_length=4000)
    """The purpose of the channel. Agents read it."""
    members: tuple[MemberFile, ...] = Field(default=(), max_length=MEMBERS)
    """The people and agents of the channel."""
    policy: ChannelPolicy = Field(default_factory=ChannelPolicy)
    """The rules of turns."""
    default_participation: Participation = "prefer_selected"
    """The participation of agents that have none of their own. `manual_only`: when a person addresses them.
    `selected_only`: also when an agent's mention does. `prefer_selected`: always, earlier if a tag matches.
    `always_listen`: always."""
    announce: tuple[Announced, ...] = ()
    """Events of members' sessions that the daemon proposes here."""
    paused: bool = False
    """Whether no turns are granted. Messages are accepted, and answered later."""
    assets: tuple[Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")], ...] = Field(default=(), max_length=50)
    """Pinned assets, by id: the agents of the channel may read them, and they stay."""

    @model_validator(mode="after")
    def _distinct_members(self) -> ChannelFile:
        for what in ("member", "session", "person"):
            values = [value for one in self.members if (value := getattr(one, what)) is not None]
            if twice := next((value for value in values if values.count(value) > 1), None):
                raise ValueError(f"members: two of them have the {what} {twice!r}")
        words = [fold(one.name) for one in self.members if one.name is not None]
        taken = next((word for word in words if words.count(word) > 1), None)
        others = {one.member: one.name for one in self.members}
        taken = taken or next((word for word in words if word in others and fold(others[word] or "") != word), None)
        if taken is not None:
            raise ValueError(f"members: two of them answer to the name {taken!r}")
        return self

    @cached_property
    def by_id(self) -> dict[str, MemberFile]:
        """The members by their ids."""
        return {one.member: one for one in self.members}

    @cached_property
    def agents(self) -> tuple[MemberFile, ...]:
        """The members that are agents."""
        return tuple(one for one in self.members if one.kind == "agent")

    def with_members(self, members: Iterable[MemberFile]) -> ChannelFile:
        """Return the file with other members. A plain copy would keep the `by_id` and `agents` of these."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**fields, "members": tuple(members)})

    @property
    def sessions(self) -> Iterator[str]:
        """The sessions of members."""
        return (one.session for one in self.agents if one.session is not None)

    def person(self, person: str | None) -> MemberFile | None:
        """Return the member that a token's person is."""
        return next((one for one in self.members if person is not None and one.person == person), None)

    def of_session(self, session_id: str) -> MemberFile | None:
        """Return the member whose session this is."""
        return next((one for one in self.agents if one.session == session_id), None)

    def has(self, member: str, session_id: str | None) -> bool:
        """Return whether the agent of a session is this member."""
        found = self.by_id.get(member)
        return found is not None and found.kind == "agent" and found.session == session_id

    def participation(self, member: MemberFile) -> Participation:
        """Return when an agent speaks."""
        return member.participation or self.default_participation
