"""The version of a Playbook that a start takes, with its content from its tag's tree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kheish import ids
from kheish.domain.flows.start import Source
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import RELEASES, Released
from kheish.state import pins
from kheish.state.state import State

Read = Callable[[str, str], Awaitable[Released]]


async def source(state: State, read: Read, playbook_id: str, version: str | None, flow_id: str) -> Source:
    """Return the version to start. Raises NotFound, VersionTampered, VersionNotStartable, NoActiveVersion."""
    async with pins.owner(state, RELEASES, ids.check_slug(playbook_id, "playbook")):
        one = playbooks.resolve(state, playbook_id, version, flow_id)
        released = await read(playbook_id, one.version)
        # it may have been revoked during the await
        playbooks.resolve(state, playbook_id, one.version, flow_id)
    return Source(
        playbook_id=playbook_id,
        version=one.version,
        digest=one.digest,
        tag=one.tag,
        commit=one.commit,
        manifest=released.manifest,
    )
