"""The trust in the files of one kind, bound to their digests; a kind adds its own judgement.

A content that an admin writes through the API is trusted by that. Any other content, from an editor or from a pull,
starts nothing before `kheish trust`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kheish import ids
from kheish.api.services import Services
from kheish.api.skills.trusting import check_digest
from kheish.domain import trusts
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.trusts import Trusted
from kheish.errors import Invalid
from kheish.state.state import State

CHANGED = "its file changed since it was trusted"


@dataclass(frozen=True, slots=True)
class Judged:
    """A file as its trust is now. `reason`: it is not started; `bound`: the other files that the trust covers."""

    reason: str | None = None
    bound: tuple[str, ...] = ()


class Files:
    """The files of a kind, with their trust. `kind` is the folder's name, `shown_kind` that of the API."""

    kind = ""
    shown_kind: Literal["hook", "mcp", "output"]

    def __init__(self, services: Services) -> None:
        self._state: State = services.state
        self._folder = f"{KINDS[self.kind].name}/"

    async def listed(self) -> list[dict[str, Any]]:
        """Return the files that need trust."""
        found: Sequence[Definition] = list(self._state.definitions.by_kind[self.kind].values())
        return [await self._view(one) for one in found if one.value.commands]

    async def shown(self, id: str) -> dict[str, Any]:
        """Return one file, whether or not it needs trust. Raises NotFound, Invalid."""
        return await self._view(self._find(id))

    async def trust(self, id: str, digest: str, by: str) -> dict[str, Any]:
        """Trust the content of a file that was reviewed. Raises NotFound, Invalid, DigestConflict."""
        found = self._find(id)
        if (why := self._needless(found)) is not None:
            raise Invalid(f"{found.path} {why}")
        check_digest(f"{self._folder}{id}", found.digest, digest)
        await self._write(found, by)
        await self._state.durable()
        return await self._view(found)

    def _needless(self, found: Definition) -> str | None:
        """Return the end of a sentence about a file that needs no trust; None for one that does."""
        return None if found.value.commands else "runs nothing that needs trust."

    async def _write(self, found: Definition, by: str) -> None:
        """Record the trust."""
        await trusts.trust(self._state, f"{self._folder}{found.id}", found.digest, by=by, commands=found.value.commands)

    async def _judge(self, found: Definition, trusted: Trusted | None) -> Judged:
        """Return whether a file may start something now."""
        if not found.value.commands or (trusted is not None and trusted.digest == found.digest):
            return Judged()
        return Judged("it is not trusted yet" if trusted is None else CHANGED)

    def _is_current(self, found: Definition, trusted: Trusted, judged: Judged) -> bool:
        """Return whether the newest trust is in this content."""
        return trusted.digest == found.digest

    def _find(self, id: str) -> Definition:
        return self._state.definitions.get(self.kind, ids.check_slug(id, "id"))

    async def _view(self, found: Definition) -> dict[str, Any]:
        name = f"{self._folder}{found.id}"
        trusted = await trusts.find(self._state, name)
        judged = await self._judge(found, trusted)
        current = trusted if trusted is not None and self._is_current(found, trusted, judged) else None
        return {
            "name": name,
            "id": name,
            "path": found.path,
            "kind": self.shown_kind,
            "state": "trusted" if judged.reason is None else "waiting",
            "digest": found.digest,
            "commands": list(found.value.commands),
            "bound": list(judged.bound),
            "published_by": "",
            "via": current.via if current is not None else "git",
            "trusted_by": current.by if current is not None else None,
            "trusted_at": current.at if current is not None else None,
            "reason": self._why(trusted, current, judged),
            "n": trusted.n if trusted is not None else 0,
        }

    def _why(self, trusted: Trusted | None, current: Trusted | None, judged: Judged) -> str | None:
        return None if trusted is None or current is not None else CHANGED
