"""The form of a memory file: front matter, and text below it. Agents write the text alone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Load = Literal["index", "always", "never"]
_DATE = re.compile(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]\Z")
_SHORT = 120  # characters of a description that is taken from the text


class MemoryFile(BaseModel):
    """`memory/…/*.md`: front matter, followed by the text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str | None = Field(
        default=None, max_length=300, description="One line for the index; the default is the first line of the text."
    )
    load: Load = Field(
        default="index",
        description="index lists the file in the prompt, always puts its whole text there (only if a user wrote it), "
        "never hides it.",
    )
    expires: str | None = Field(
        default=None, description="The date (2027-01-31) or time from which on the prompt omits the file."
    )
    body: str = Field(default="", description="The text (the part below the front matter).")

    @field_validator("expires")
    @classmethod
    def _check_time(cls, text: str | None) -> str | None:
        """Refuse a text that is neither a date nor a time. Raises ValueError."""
        if text is not None:
            try:
                moment(text)
            except ValueError:
                raise ValueError(f"{text!r} is neither a date (2027-01-31) nor a time (RFC 3339)") from None
        return text


def moment(text: str) -> datetime:
    """Return the time that a text denotes: of a date, the beginning of the day in UTC. Raises ValueError."""
    if _DATE.match(text):
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def description(file: MemoryFile) -> str:
    """Return the description for the index: a single line without control characters."""
    text = file.description
    if not text:
        lines = (line.strip().lstrip("#").strip() for line in file.body.splitlines())
        text = next((line for line in lines if line), "")
    line = "".join(character if character.isprintable() else " " for character in " ".join(text.split()))
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"
