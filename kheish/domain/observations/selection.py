"""Selections: which observations a run or a Flow gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kheish import ids
from kheish.domain.routes import Slug

MOST = 500  # observations of a run


def _moment(text: str) -> str:
    try:
        ids.duration(text)
    except ValueError:
        try:
            ids.seconds_of(utc(text))
        except ValueError:
            raise ValueError(f"{text!r} is neither a time such as 2026-11-29T12:00:00Z nor a duration") from None
    return text


def utc(text: str) -> str:
    """Return a time in UTC as the product writes it. Raises ValueError."""
    from datetime import UTC, datetime

    at = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
    if at.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return ids.stamp(at.astimezone(UTC).timestamp())


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class Selection(BaseModel):
    """The choice of observations: ids, or the newest of a source, a stream, a group or a span of time."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    ids: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=MOST)] | None = None
    """The ids of the observations; with them, nothing else."""
    latest: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """The number of the newest ones."""
    source: Slug | None = None
    """The source; needed for all but ids and a group."""
    stream: _Name | None = None
    """Only those of this stream."""
    group: _Name | None = None
    """Only those of this group."""
    since: Moment | None = None
    """Only those that were captured since then: a time, or a duration before now."""
    until: Moment | None = None
    """Only those that were captured before."""

    @model_validator(mode="after")
    def _is_one(self) -> Selection:
        others = (self.latest, self.source, self.stream, self.group, self.since, self.until)
        if self.ids is not None:
            if any(one is not None for one in others):
                raise ValueError("ids are named alone")
            return self
        if self.source is None and self.group is None:
            raise ValueError("needs ids, a source, or a group")
        if all(one is None for one in (self.latest, self.stream, self.group, self.since, self.until)):
            raise ValueError("needs one of ids, latest, stream, group, since and until")
        return self
