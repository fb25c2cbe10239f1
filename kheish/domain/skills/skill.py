"""The value of a skill: the front matter and the text of a `SKILL.md`."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FILE = "SKILL.md"
#: what a skill's file may have, in bytes; a longer text is cut
BODY_BYTES = 64 * 1024
BODY_TOKENS = 5000  # beyond it, a warning
DESCRIPTION_CHARACTERS = 1024
#: characters of `description` and `when_to_use` in the catalog
SHOWN_CHARACTERS = 1536
NAME_CHARACTERS = 64
_NAME = re.compile(r"[a-z0-9-]{1,64}\Z")
_OTHER = re.compile(r"[^a-z0-9]+")


class Skill(BaseModel):
    """`skills/<name>/SKILL.md`: front matter, followed by the instructions. Unknown keys are kept, and have no
    effect."""

    model_config = ConfigDict(extra="allow", frozen=True, validate_by_name=True, validate_by_alias=True)

    name: str | None = Field(default=None, description="The name; the folder's name is in effect.")
    description: str = Field(min_length=1, description="The tasks that the skill is for, at most 1,024 characters.")
    when_to_use: str | None = Field(default=None, description="More about when to use it; shown with the description.")
    license: str | None = Field(default=None, description="The license; stored, not interpreted.")
    compatibility: str | None = Field(default=None, description="Requirements, for users; not interpreted.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Free-form data; stored, not interpreted.")
    allowed_tools: list[str] = Field(
        default_factory=list,
        alias="allowed-tools",
        description="Calls that are allowed while the skill is in use, once a user trusts it: `Bash(git *)`, `Read`.",
    )
    disallowed_tools: list[str] = Field(
        default_factory=list, alias="disallowed-tools", description="Calls that are denied while the skill is in use."
    )
    arguments: list[str] = Field(default_factory=list, description="Names of the arguments, in order.")
    argument_hint: str | None = Field(
        default=None, alias="argument-hint", description="The arguments in words, for users."
    )
    disable_model_invocation: bool = Field(
        default=False, alias="disable-model-invocation", description="Whether only users can start the skill."
    )
    user_invocable: bool = Field(
        default=True, alias="user-invocable", description="Whether users can start the skill with `/name`."
    )
    model: str | None = Field(default=None, description="With `context: fork`: a route, or `route/model`.")
    context: Literal["fork"] | None = Field(
        default=None, description="`fork`: the skill runs in an agent of its own, which returns its answer."
    )
    paths: list[str] = Field(
        default_factory=list, description="Globs; the skill is offered once a matching file was read or changed."
    )
    body: str = Field(default="", description="The instructions (the part below the front matter).")


def is_name(text: str) -> bool:
    """Return whether a text is a legal name of a skill."""
    return _NAME.match(text) is not None


def normalized(text: str) -> str:
    """Return the legal name that is nearest to a folder's name; empty if nothing of it is left."""
    return text if is_name(text) else _OTHER.sub("-", text.lower()).strip("-")[:NAME_CHARACTERS].strip("-")


def shown(skill: Skill) -> str:
    """Return the description in one line, as the catalog shows it."""
    text = " ".join(f"{skill.description} {skill.when_to_use or ''}".split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1].rstrip()}…"
