"""Building blocks of request bodies: their base, and fields that several bodies share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=128)]
Reason = Annotated[str, Field(max_length=4000)]
Key = Annotated[str, Field(min_length=1, max_length=255)]
_Label = Annotated[str, Field(max_length=200)]
Labels = Annotated[dict[_Label, Annotated[str, Field(max_length=2000)]], Field(max_length=100)]
#: an object with a few members, each of which is validated
Few = Annotated[dict[str, Any], Field(max_length=100)]
Targets = Annotated[list[Few], Field(max_length=50)]


class Body(BaseModel):
    """The base of all request bodies. Unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Because(Body):
    """A request with an optional reason only."""

    reason: Reason | None = None
    """The reason, for the journal."""
