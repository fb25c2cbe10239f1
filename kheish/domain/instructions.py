"""The operator's base prompt, `instructions.md`: text that is added to the built-in instructions, or replaces them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: the files with project instructions that a folder may have, in the order of precedence; only the first is read
PROJECT_FILES = ("AGENTS.override.md", "AGENTS.md", "CLAUDE.md")


class BasePrompt(BaseModel):
    """`instructions.md`: front matter, followed by the text. It begins the prompt of every run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["append", "replace"] = Field(
        default="append",
        description="append: the text follows the built-in instructions; replace: it takes their place.",
    )
    body: str = Field(default="", max_length=100_000, description="The text below the front matter.")


def base(built_in: str, given: BasePrompt | None) -> str:
    """Return the instructions that a prompt begins with."""
    if given is None or not given.body.strip():
        return built_in
    return given.body if given.mode == "replace" else f"{built_in}\n\n{given.body}"
