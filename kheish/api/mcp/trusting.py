"""Trust in MCP servers: the commands that they start, and the definitions of their tools."""

from __future__ import annotations

from kheish.api.trusting.frame import Files
from kheish.domain import trusts
from kheish.domain.definitions import KINDS, Definition

FOLDER = f"{KINDS['mcp'].name}/"


class Trusting(Files):
    """The servers, with their trust."""

    kind = "mcp"
    shown_kind = "mcp"

    def _needless(self, found: Definition) -> str | None:
        if found.value.commands or found.value.trust_annotations:
            return None
        return "starts no command, and its annotations do not count: it needs no trust."

    async def _write(self, found: Definition, by: str) -> None:
        name, commands = f"{FOLDER}{found.id}", found.value.commands
        again = found.value.trust_annotations  # the current definitions of its tools are reviewed as well
        await trusts.trust(self._state, name, found.digest, by=by, commands=commands, again=again)
