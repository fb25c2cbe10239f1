"""Personas: instruction text that people write, and the immutable snapshot of it that a session is bound to."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kheish.domain.scopes import CapabilityScope


class Persona(BaseModel):
    """`personas/<id>.md`: front matter, and below it the instruction text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    display_name: str | None = Field(default=None, description="How people see it; without it, its id.")
    capability_scope: CapabilityScope | None = Field(default=None, description="What the agent may see.")
    default_skills: list[str] = Field(default_factory=list, description="Skills that are loaded from the start.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything; it is kept and not read.")
    body: str = Field(min_length=1, description="The instruction text (the part below the front matter).")


def snapshot(persona_id: str, persona: Persona, digest: str, at: str, *, blob: str | None = None) -> dict[str, Any]:
    """What a session keeps at binding: the content, the file's sha256 and git blob id, and the time.

    Later edits of the file change only future bindings; children inherit the snapshot.
    """
    return {
        "persona_id": persona_id,
        "display_name": persona.display_name or persona_id,
        "digest": digest,
        "blob": blob,
        "bound_at": at,
        "capability_scope": persona.capability_scope.model_dump() if persona.capability_scope else None,
        "default_skills": list(persona.default_skills),
        "metadata": dict(persona.metadata),
        "body": persona.body,
    }
