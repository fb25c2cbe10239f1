"""The JSON Schemas of everything that is a file, made from the models: `python -m kheish.daemon.schemas [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from kheish import resources
from kheish.api import answers
from kheish.domain import events
from kheish.domain.definitions import KINDS, TOP
from kheish.domain.events import Event
from kheish.domain.scripts import Script
from kheish.store.schema import SUFFIX, Model, drift, write_schemas


class _Line(BaseModel):
    """What every journal line has."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    v: Literal[1]
    """The version of this form."""
    n: Annotated[int, Field(ge=1)]
    """The event number, over the whole state root."""
    seq: Annotated[int, Field(ge=1)]
    """The position in this journal."""
    at: str
    """When, RFC 3339 in UTC."""


def _entry(cls: type[Event]) -> Any:
    """The model of one kind of journal line; its keys stand in the order that journals have."""
    place: dict[str, Any] = {"session": (str, ...), "run": (str | None, ...)}
    if cls.stream is not None:
        place = {"stream": (Literal[cls.stream], ...)}
    about = next(iter((cls.__doc__ or "").splitlines()), "")
    fields: dict[str, Any] = {"kind": (Literal[cls.kind], ...), **place, "actor": (str, ...), "data": (cls, ...)}
    doc = None if about.startswith(cls.__name__ + "(") else about  # what a dataclass says of itself is no description
    return create_model(f"{cls.__name__}Line", __base__=_Line, __doc__=doc or f"{cls.kind}.", **fields)


def journal_entry() -> TypeAdapter[Any]:
    """A journal line of any kind."""
    lines = tuple(_entry(cls) for _, cls in sorted(events.kinds().items()))
    return TypeAdapter(Annotated[Union[lines], Field(discriminator="kind")])  # noqa: UP007 - made from a tuple


def models() -> Mapping[str, Model]:
    """Every model that has a schema file, by its name."""
    kinds = (*TOP.values(), *KINDS.values())
    return {
        **{kind.singular: kind.model for kind in kinds},
        "script": Script,
        "session": answers.Session,
        "run": answers.Run,
        "approval": answers.Approval,
        "question": answers.Question,
        "journal-entry": journal_entry(),
    }


def main(arguments: Sequence[str], folder: Path | None = None) -> int:
    """Write the files, or with `--check` say which differ (exit code 1)."""
    folder = folder or resources.folder("schemas")
    if "--check" in arguments:
        for name in (found := drift(models(), folder)):
            sys.stdout.write(f"{name}{SUFFIX} is not what the models say: python -m kheish.daemon.schemas\n")
        return 1 if found else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in write_schemas(models(), folder):
        sys.stdout.write(f"{name}{SUFFIX}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
