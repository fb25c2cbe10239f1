"""Trust in skills: the calls that a skill of the state root allows, bound to the digest of its whole folder."""

from __future__ import annotations

from typing import Any

from kheish.api.services import Services
from kheish.domain import trusts
from kheish.domain.definitions import KINDS
from kheish.errors import Conflict, DigestConflict, NotFound
from kheish.runtime.skills.catalog import Found

FOLDER = f"{KINDS['skills'].name}/"


class Trusting:
    """The skills of the state root, with their trust."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def listed(self) -> list[dict[str, Any]]:
        """Return the skills that allow calls."""
        return [await self._view(one) for one in self._services.skills.catalog.of_state() if one.skill.allowed_tools]

    async def shown(self, id: str) -> dict[str, Any]:
        """Return one skill. Raises NotFound."""
        return await self._view(self._find(id))

    async def trust(self, id: str, digest: str, by: str) -> dict[str, Any]:
        """Trust the content of a skill that was reviewed. Raises NotFound, DigestConflict, Conflict."""
        found = self._find(id)
        read = await self._services.skills.read(found)
        check_digest(found.definition, read.content.digest, digest)
        if not read.is_whole:
            raise Conflict(
                f"{found.definition} cannot be trusted: its digest would not cover all of its files "
                f"({'; '.join(read.content.left_out[:3])})."
            )
        await trusts.trust(self._state, found.definition, read.content.digest, by=by, commands=read.skill.allowed_tools)
        await self._state.durable()
        return await self._view(found)

    def _find(self, id: str) -> Found:
        own = {one.name: one for one in self._services.skills.catalog.of_state()}
        if id not in own:
            raise NotFound(f"There is no skill {id!r} in the state root; others cannot be trusted.")
        return own[id]

    async def _view(self, found: Found) -> dict[str, Any]:
        read = await self._services.skills.read(found)
        trusted = await trusts.find(self._state, found.definition)
        is_same = trusted is not None and trusted.digest == read.content.digest
        is_trusted = is_same and read.is_whole
        changed = "its files changed since it was trusted"
        if is_same:
            changed = f"its digest does not cover all of its files ({'; '.join(read.content.left_out[:3])})"
        return {
            "name": found.definition,
            "id": found.definition,
            "path": f"{found.dir}/{found.file}",
            "kind": "skill",
            "state": "trusted" if is_trusted else "waiting",
            "digest": read.content.digest,
            "commands": list(read.skill.allowed_tools),
            "published_by": "",
            "via": "git",
            "trusted_by": trusted.by if trusted is not None and is_trusted else None,
            "trusted_at": trusted.at if trusted is not None and is_trusted else None,
            "reason": None if trusted is None or is_trusted else changed,
            "n": trusted.n if trusted is not None else 0,
        }


def check_digest(name: str, digest: str, reviewed: str) -> None:
    """Raise DigestConflict if the content is not the reviewed one."""
    if not digest.startswith(reviewed):
        raise DigestConflict(
            f"{name} has the digest {digest[:12]}, and not {reviewed[:12]}: review it again, then trust its current "
            "content (kheish trust)."
        )
