"""Agent files: personas of the state root, and the files in `.claude/agents` of a workspace.

A workspace's file is untrusted: an agent may have written it. It is read through the door, and everything in it only
narrows what the parent has. Its tools have other names there (`Read`, `Bash`), which are translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kheish import ids
from kheish.beneath import Door, files, pool
from kheish.domain import personas, public_names, workspaces
from kheish.domain.permissions.rules import Mode
from kheish.domain.personas import Persona
from kheish.errors import Fault, Invalid, NotBeneath, NotFound
from kheish.ids import MOST
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits import definitions
from kheish.store.files import blob_id

FOLDER = ".claude/agents"
_BYTES = 256 * 1024
_MODES: Mapping[str, Mode] = {
    "default": "default",
    "acceptEdits": "accept_edits",
    "plan": "plan",
    "dontAsk": "dont_ask",
    "bypassPermissions": "bypass",
}


class _Foreign(BaseModel):
    """A file of `.claude/agents`. Fields that have no meaning here are accepted."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str | None = None
    description: str | None = None
    tools: str | list[str] | None = None
    disallowedTools: str | list[str] | None = None
    model: str | None = None
    permissionMode: str | None = None
    maxTurns: int | None = Field(default=None, ge=1, le=MOST)
    isolation: str | None = None
    skills: str | list[str] | None = None
    body: str = Field(min_length=1)


async def find(state: State, workspace: str, name: str) -> tuple[Persona, dict[str, Any]]:
    """Return an agent file by name, with the snapshot that its session keeps: a persona, else a file of the workspace.

    Raises NotFound, Invalid (it cannot be read), WorkspaceSlow.
    """
    definition = state.definitions.by_kind["personas"].get(name)
    if definition is not None:
        persona, digest, raw = definition.value, definition.digest, definition.raw
    else:
        ids.check_slug(name, "agent")
        door = workspaces.door_of(state, workspace)
        try:
            raw = await pool.run(door, _read, door, f"{FOLDER}/{name}.md")
        except NotBeneath:
            raise NotFound(f"There is no agent file {name!r}: neither a persona nor {FOLDER}/{name}.md.") from None
        persona, digest = await parsing.run(read, raw, name), sha256(raw).hexdigest()
    snapshot = personas.snapshot(name, persona, digest, ids.now(), blob=blob_id(raw))
    skills = dict.fromkeys((*persona.default_skills, *(persona.skills or ())))
    return persona, {**snapshot, "default_skills": list(skills)}


def _read(door: Door, path: str) -> bytes:
    return files.read(door, path, _BYTES)


def read(raw: bytes, name: str) -> Persona:
    """Return a file of `.claude/agents` as a persona. Raises Invalid."""
    parsed = definitions.parse_markdown(_Foreign, raw, f"{FOLDER}/{name}.md")
    found = parsed.value
    if found is None:
        reasons = "; ".join(problem.message for problem in parsed.problems[:3])
        raise Invalid(f"{FOLDER}/{name}.md cannot be read: {reasons}.", errors=[Fault("/agent", reasons)])
    mode = _MODES.get(found.permissionMode) if found.permissionMode is not None else None
    limits = personas.AgentLimits(turns=found.maxTurns) if found.maxTurns is not None else None
    tools = _named(found.tools)
    return Persona(
        display_name=found.name,
        description=found.description,
        tools=list(public_names.translated(tools)) if tools is not None else None,
        disallowed_tools=list(public_names.translated(_named(found.disallowedTools) or [])),
        # The names of models there are another vendor's; the route stays the parent's.
        permission_mode=mode if found.permissionMode is None or mode is not None else "plan",
        limits=limits,
        isolation="worktree" if found.isolation == "worktree" else None,
        skills=_named(found.skills),
        body=found.body,
    )


def _named(given: str | list[str] | None) -> list[str] | None:
    """Return the tools of a field, which is a list or a text with commas. `*` stands for all."""
    if given is None:
        return None
    names = given.split(",") if isinstance(given, str) else given
    cleaned = [name.strip() for name in names if name.strip()]
    return None if cleaned == ["*"] else cleaned
