"""What bodies of requests are made of: their base, and the fields that several have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=128)]
Reason = Annotated[str, Field(max_length=4000)]
Key = Annotated[str, Field(min_length=1, max_length=255)]
_Label = Annotated[str, Field(max_length=200)]
Labels = Annotated[dict[_Label, Annotated[str, Field(max_length=2000)]], Field(max_length=100)]
#: an object with a few members, each of which is looked at
Few = Annotated[dict[str, Any], Field(max_length=100)]
Targets = Annotated[list[Few], Field(max_length=50)]


class Body(BaseModel):
    """Base of all requests: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Because(Body):
    """A request that needs no more than an optional reason."""

    reason: Reason | None = None
    """Why, for the journal."""
