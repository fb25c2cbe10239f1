"""The file of a project, `projects/<id>.yaml`: its members, its channels, and how its tasks are worked on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kheish.domain.routes import Slug
from kheish.ids import MOST
from kheish.settings import ReplyTarget

Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ProjectMember(_Part):
    """A member: a person, a session, or an agent by its session."""

    member: Slug
    """The id of the member in this project: tasks are assigned to it."""
    kind: Literal["human", "session", "agent"]
    """`human`: a token's person; `session`, `agent`: the agent of a session."""
    person: Name | None = None
    """With `human`: the person; without it, the member's id."""
    session: Slug | None = None
    """With `session` or `agent`: the session; without it, the member's id."""
    role: Name | None = None
    """The part of the member in the project, for people and agents."""
    tags: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    """Words of your own."""

    @model_validator(mode="after")
    def _one_kind(self) -> ProjectMember:
        if self.kind == "human" and self.session is not None:
            raise ValueError("a human has a person, not a session")
        if self.kind != "human" and self.person is not None:
            raise ValueError(f"a member of kind {self.kind} has a session, not a person")
        return self

    @property
    def session_id(self) -> str | None:
        """The session of a member that is no human."""
        return (self.session or self.member) if self.kind != "human" else None

    @property
    def person_name(self) -> str | None:
        """The person of a human member."""
        return (self.person or self.member) if self.kind == "human" else None


class ProjectChannel(_Part):
    """A channel of the project."""

    channel: Slug
    """The channel's id."""
    role: Name | None = None
    """The purpose of the channel."""
    default: bool = False
    """Whether the threads of tasks are opened here; one channel at most."""
    mirror: bool = False
    """Whether the members of the project are members of the channel, too."""


class ProjectQuotas(_Part):
    """Quotas of agents that work for the project. They narrow those of kheish.yaml."""

    depth: int | None = Field(default=None, ge=0, le=MOST)
    """Levels below an agent without a parent."""
    live_per_parent: int | None = Field(default=None, ge=0, le=MOST)
    """Children of an agent that have not settled."""
    live_per_root: int | None = Field(default=None, ge=0, le=MOST)
    """Agents of a tree that have not settled."""
    spawns_per_run: int | None = Field(default=None, ge=0, le=MOST)
    """Agents that a run spawns."""

    @property
    def narrower(self) -> dict[str, int]:
        """The quotas that are set."""
        return self.model_dump(exclude_none=True)


class ProjectFile(_Part):
    """A project: members, linked channels, and tasks over many sessions."""

    title: Annotated[str, Field(max_length=500)] | None = None
    """The name shown to people."""
    description: Annotated[str, Field(max_length=20_000)] | None = None
    """The purpose of the project."""
    state: Literal["active", "paused", "completed", "archived"] = "active"
    """Whether tasks are started and claimed. `pause`, `resume` and `archive` apply until this line is changed."""
    members: Annotated[tuple[ProjectMember, ...], Field(max_length=1000)] = ()
    """The members. One that owns open tasks cannot be removed."""
    channels: Annotated[tuple[ProjectChannel, ...], Field(max_length=100)] = ()
    """The linked channels."""
    review: bool = False
    """Whether a person accepts each result: a completed task is `in_review` first."""
    max_claims: int | None = Field(default=None, ge=1, le=MOST)
    """The number of tasks that are worked on at a time; without it, unlimited."""
    agents: ProjectQuotas = ProjectQuotas()
    """Quotas of the agents that work for the project, narrower than those of kheish.yaml."""
    announce: Annotated[tuple[ReplyTarget, ...], Field(max_length=20)] = ()
    """The targets of announcements of its sessions: waiting approvals and questions, and failed runs."""

    @model_validator(mode="after")
    def _distinct(self) -> ProjectFile:
        _check_distinct("member", [one.member for one in self.members])
        _check_distinct("session", [one.session_id for one in self.members if one.session_id is not None])
        _check_distinct("channel", [one.channel for one in self.channels])
        if sum(one.default for one in self.channels) > 1:
            raise ValueError("one channel can be the default")
        return self

    def member(self, member: str | None) -> ProjectMember | None:
        """Return a member by its id."""
        return next((one for one in self.members if one.member == member), None)

    def member_of(self, session_id: str | None) -> ProjectMember | None:
        """Return the member of a session."""
        return next((one for one in self.members if one.session_id == session_id), None) if session_id else None

    @property
    def sessions(self) -> Iterator[str]:
        """The sessions of members."""
        return (one.session_id for one in self.members if one.session_id is not None)

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """Yield the definitions that it names: the place in the file, the kind and the id."""
        for number, one in enumerate(self.channels):
            yield ("channels", number, "channel"), "channels", one.channel


def _check_distinct(what: str, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the {what} {twice!r} is listed twice")
