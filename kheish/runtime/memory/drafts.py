"""Drafts of skills from memory files: a file beside a possible skill, which a user reviews and renames."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from kheish.domain.memory import file as memory_file
from kheish.domain.memory.file import MemoryFile
from kheish.errors import Conflict
from kheish.store import exchange, parsing
from kheish.store.edits import definitions as reading

_NAME = "SKILL.draft.md"


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft: its path in the state root, and its content."""

    path: str
    content: str


async def write(root: Path, skill: str, path: str, raw: bytes) -> Draft:
    """Write the draft of a skill from a memory file. Raises Conflict if the draft exists."""
    draft = await parsing.run(_compose, skill, path, raw)
    try:
        await asyncio.to_thread(exchange.swap, root, draft.path, draft.content.encode(), seen=None)
    except exchange.Differs:
        raise Conflict(f"The draft {draft.path} exists; review it, or remove it first.") from None
    return draft


def _compose(skill: str, path: str, raw: bytes) -> Draft:
    parsed = reading.parse_markdown(MemoryFile, raw, path)
    value = parsed.value or MemoryFile(body=raw.decode("utf-8", "replace"))
    front = {"name": skill, "description": memory_file.description(value) or f"From {path}."}
    note = f"<!-- Draft from {path}. Review it: an agent may have written it. To use it, rename it to SKILL.md. -->"
    content = reading.dump_markdown({**front, "body": f"{note}\n\n{value.body}"}).decode()
    return Draft(f"skills/{skill}/{_NAME}", content)
