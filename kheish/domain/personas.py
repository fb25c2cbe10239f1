"""Personas: instruction texts written by users, and the immutable snapshots of them that sessions are bound to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kheish.domain.scopes import CapabilityScope


class Persona(BaseModel):
    """`personas/<id>.md`: front matter, followed by the instruction text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: str | None = Field(default=None, description="The name shown to users; the default is its id.")
    capability_scope: CapabilityScope | None = Field(default=None, description="The names visible to the agent.")
    default_skills: list[str] = Field(default_factory=list, description="Skills that are loaded from the start.")
    memory: Literal["propose", "write"] = Field(
        default="propose", description="write: sessions with this persona may change its memory without a user."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Free-form data; stored, not interpreted.")
    body: str = Field(min_length=1, description="The instruction text (the part below the front matter).")


def snapshot(persona_id: str, persona: Persona, digest: str, at: str, *, blob: str | None = None) -> dict[str, Any]:
    """Return the snapshot that a session keeps at binding: the content, the file's sha256 and git blob id, and the
    time.

    Later edits of the file affect only later bindings; children inherit the snapshot.
    """
    return {
        "persona_id": persona_id,
        "display_name": persona.display_name or persona_id,
        "digest": digest,
        "blob": blob,
        "bound_at": at,
        "capability_scope": persona.capability_scope.model_dump() if persona.capability_scope else None,
        "default_skills": list(persona.default_skills),
        "memory": persona.memory,
        "metadata": dict(persona.metadata),
        "body": persona.body,
    }
