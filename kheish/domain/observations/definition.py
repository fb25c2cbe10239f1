"""The file of a source, `sources/<id>.yaml`: what it sends, how long that is kept, and what a model may get of it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from kheish import ids
from kheish.domain.events import ObservationKind
from kheish.domain.scripts import Duration
from kheish.ids import MOST

#: kinds that are text, which stands in the file of a batch
TEXTS = frozenset({"text", "log", "json", "html"})
#: kinds whose raw content may reach a model without being told
SHOWN = frozenset({"text", "log", "json"})
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"([1-9][0-9]{0,8})\s*/\s*([smhd]|second|minute|hour|day)")


def _bytes(value: Any) -> Any:
    return ids.size(value) if isinstance(value, str) else value


def _rate(text: str) -> str:
    if _RATE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a rate; write a number and a period, such as 600/m")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceRetention(_Part):
    """The limits of what is kept; the oldest contents beyond any of them are purged."""

    age: Duration | None = None
    """The time after which a content is purged; null: no such limit."""
    count: int | None = Field(default=None, ge=0, le=MOST)
    """The number of observations that keep their contents."""
    bytes: Annotated[int, Field(ge=0, le=MOST), BeforeValidator(_bytes)] | None = None
    """The size of all contents together, such as `100MiB`."""


class SourceFile(_Part):
    """A source of observations: a program or a device that sends records."""

    title: str | None = Field(default=None, max_length=500)
    """The name shown to people."""
    kinds: Annotated[tuple[ObservationKind, ...], Field(min_length=1, max_length=6)] = ("text",)
    """The kinds that it sends; the first is that of records which name none."""
    sensitivity: str = Field(default="internal", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    """A label of your own, such as `public` or `confidential`. Models and people see it beside the content."""
    retention: SourceRetention = Field(default_factory=SourceRetention)
    """The limits of what is kept."""
    rate: Annotated[str, AfterValidator(_rate)] | None = None
    """The most observations in a period, such as `600/m`; null: no limit."""
    raw_to_model: bool | None = None
    """Whether the raw content may reach a model; null: text, log and json may, image and audio not, and of html the
    text that is derived from it."""
    expect_every: Duration | None = None
    """The longest silence; after it, the source is a problem."""
    purge: Literal["drop", "forget"] = "drop"
    """`drop`: a purged content leaves the tree, and git's history keeps it. `forget`: contents are committed only
    encrypted, and a purge deletes the key."""

    @field_validator("kinds")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a kind twice")
        return value

    @property
    def limit(self) -> tuple[int, float] | None:
        """The rate as a number of observations and seconds."""
        match = _RATE.fullmatch(self.rate) if self.rate is not None else None
        return (int(match[1]), _PERIODS[match[2][0]]) if match is not None else None

    @property
    def is_encrypted(self) -> bool:
        """Whether its contents are committed only encrypted."""
        return self.purge == "forget"

    def shows_raw(self, kind: str) -> bool:
        """Return whether a model may get the raw content of a kind."""
        return kind in SHOWN if self.raw_to_model is None else self.raw_to_model
