"""Trust in hooks: their commands and requests, bound to the digests of their files and of the files that they name."""

from __future__ import annotations

import asyncio
from typing import Literal

from kheish.api.trusting.frame import Files, Judged
from kheish.domain import trusts
from kheish.domain.definitions import Definition
from kheish.domain.trusts import Trusted
from kheish.errors import Invalid
from kheish.runtime.hooks import binding
from kheish.runtime.hooks.binding import FOLDER as FOLDER
from kheish.state.state import State


class Trusting(Files):
    """The hooks, with their trust."""

    kind = "hooks"
    shown_kind = "hook"

    async def _write(self, found: Definition, by: str) -> None:
        await write(self._state, found, by=by, via="git")

    async def _judge(self, found: Definition, trusted: Trusted | None) -> Judged:
        judged = await binding.judge(self._state, found)
        return Judged(judged.reason, tuple(sorted(judged.files)))

    def _is_current(self, found: Definition, trusted: Trusted, judged: Judged) -> bool:
        return judged.reason is None and bool(found.value.commands)

    def _why(self, trusted: Trusted | None, current: Trusted | None, judged: Judged) -> str | None:
        return judged.reason.partition(": kheish")[0] if trusted is not None and judged.reason is not None else None


async def write(state: State, found: Definition, *, by: str, via: Literal["api", "git"]) -> None:
    """Record the trust in a hook, and in the files that it names. Raises Invalid for one that cannot be trusted."""
    name, commands = f"{FOLDER}{found.id}", found.value.commands
    try:
        files = await asyncio.to_thread(binding.files_of, found.value)
    except binding.Unbindable as error:
        raise Invalid(f"{name} cannot be trusted: {error}") from error
    await trusts.trust(state, name, found.digest, by=by, commands=commands, via=via, files=files)
