"""Agent files: personas of the state root, and the files in `.claude/agents` of a workspace.

A workspace's file is untrusted: an agent may have written it. It is read through the door, and everything in it only
narrows what the parent has. Its tools have other names there (`Read`, `Bash`), which are translated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kheish import ids
from kheish.beneath import Door, files, pool
from kheish.domain import personas, workspaces
from kheish.domain.permissions.rules import Mode
from kheish.domain.personas import Persona
from kheish.errors import Fault, Invalid, NotBeneath, NotFound
from kheish.state.state import State
from kheish.store import parsing
from kheish.store.edits import definitions
from kheish.store.files import blob_id

FOLDER = ".claude/agents"
_BYTES = 256 * 1024
#: tools of such files, by the names that they have there
TOOLS: Mapping[str, tuple[str, ...]] = {
    "Agent": ("spawn_agent", "wait_agent", "get_agent", "list_agents", "message_agent", "close_agent"),
    "Bash": ("bash", "shell_task_start"),
    "BashOutput": ("task_output",),
    "Edit": ("edit_file", "apply_patch"),
    "Glob": ("glob_search", "list_files"),
    "Grep": ("grep_search",),
    "KillShell": ("task_stop",),
    "LS": ("list_files",),
    "MultiEdit": ("edit_file", "apply_patch"),
    "Read": ("read_file", "list_files"),
    "Task": ("spawn_agent", "wait_agent", "get_agent", "list_agents", "message_agent", "close_agent"),
    "TodoWrite": ("todo_write",),
    "WebFetch": ("web_fetch",),
    "WebSearch": ("web_search",),
    "Write": ("write_file",),
}
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
    maxTurns: int | None = Field(default=None, ge=1)
    isolation: str | None = None
    body: str = Field(min_length=1)


async def find(state: State, workspace: str, name: str) -> tuple[Persona, dict[str, Any]]:
    """Return an agent file by name, with the snapshot that its session keeps: a persona, else a file of the workspace.

    Raises NotFound, Invalid (it cannot be read), WorkspaceSlow.
    """
    definition = state.definitions.by_kind["personas"].get(name)
    if definition is not None:
        blob = blob_id(definition.raw)
        return definition.value, personas.snapshot(name, definition.value, definition.digest, ids.now(), blob=blob)
    ids.check_slug(name, "agent")
    door = workspaces.door_of(state, workspace)
    try:
        raw = await pool.run(door, _read, door, f"{FOLDER}/{name}.md")
    except NotBeneath:
        raise NotFound(f"There is no agent file {name!r}: neither a persona nor {FOLDER}/{name}.md.") from None
    persona = await parsing.run(read, raw, name)
    return persona, personas.snapshot(name, persona, sha256(raw).hexdigest(), ids.now(), blob=blob_id(raw))


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
        tools=list(_translated(tools)) if tools is not None else None,
        disallowed_tools=list(_translated(_named(found.disallowedTools) or [])),
        # The names of models there are another vendor's; the route stays the parent's.
        permission_mode=mode if found.permissionMode is None or mode is not None else "plan",
        limits=limits,
        isolation="worktree" if found.isolation == "worktree" else None,
        body=found.body,
    )


def _named(given: str | list[str] | None) -> list[str] | None:
    """Return the tools of a field, which is a list or a text with commas. `*` stands for all."""
    if given is None:
        return None
    names = given.split(",") if isinstance(given, str) else given
    cleaned = [name.strip() for name in names if name.strip()]
    return None if cleaned == ["*"] else cleaned


def _translated(names: list[str]) -> Iterator[str]:
    """Yield the names that tools have here. Of `Bash(git *)` only the tool counts, since rules decide on calls."""
    for name in names:
        plain = name.partition("(")[0].strip()
        yield from TOOLS.get(plain, (plain,)) if plain else ()
