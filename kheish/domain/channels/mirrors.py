"""Members that a channel takes over from the projects that link it with `mirror: true`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kheish.domain.channels.definition import ChannelFile, MemberFile, is_name
from kheish.domain.projects.definition import ProjectFile

if TYPE_CHECKING:
    from kheish.state.state import State

_Sources = tuple[ChannelFile, tuple[ProjectFile, ...]]


class Mirrors:
    """The merged files by channel, each with the files that it is made of."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[_Sources, ChannelFile]] = {}


def with_mirrored(state: State, channel_id: str, file: ChannelFile) -> ChannelFile:
    """Return the file of a channel with the members that it takes over; its own members come first."""
    projects = tuple(_mirroring(state, channel_id))
    if not projects:
        return file
    mirrors: Mirrors = state.derived.setdefault(Mirrors, Mirrors())
    known = mirrors.known.get(channel_id)
    if known is not None and known[0][0] is file and _are_same(known[0][1], projects):
        return known[1]
    merged = file.with_members((*file.members, *_taken_over(file, projects)))
    mirrors.known[channel_id] = ((file, projects), merged)
    return merged


def _are_same(before: Sequence[ProjectFile], now: Sequence[ProjectFile]) -> bool:
    return len(before) == len(now) and all(one is other for one, other in zip(before, now, strict=True))


def _mirroring(state: State, channel_id: str) -> Iterator[ProjectFile]:
    """Yield the projects that mirror their members into a channel."""
    for path in state.definitions.bindings(f"channels/{channel_id}.yaml"):
        one = state.definitions.at(path)
        if one is not None and isinstance(one.value, ProjectFile):
            links = (link for link in one.value.channels if link.channel == channel_id)
            if any(link.mirror for link in links):
                yield one.value


def _taken_over(file: ChannelFile, projects: Sequence[ProjectFile]) -> Iterator[MemberFile]:
    """Yield the members of projects that the channel does not have by id, session or person."""
    seen = {(name, getattr(one, name)) for one in file.members for name in ("member", "session", "person")}
    for member in (member for project in projects for member in project.members):
        identity = ("session", member.session_id) if member.session_id is not None else ("person", member.person_name)
        if {("member", member.member), identity} & seen:
            continue
        seen |= {("member", member.member), identity}
        yield MemberFile(
            member=member.member,
            kind="human" if member.kind == "human" else "agent",
            session=member.session_id,
            person=member.person_name,
            role=member.role,
            tags=tuple(filter(is_name, member.tags)),
        )
