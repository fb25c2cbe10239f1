"""The generator of the JSON Schemas of all files from the models: `python -m kheish.generate.schemas [--check]`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from kheish import resources
from kheish.api.http.answer import name_of
from kheish.api.operations import OPERATIONS
from kheish.authoring.forms import FORMS
from kheish.domain import events
from kheish.domain.definitions import KINDS, TOP
from kheish.domain.events import Event, Todo
from kheish.domain.nouns import NOUNS
from kheish.domain.scripts import Script
from kheish.state.noun import Noun
from kheish.store.log.schema import SUFFIX, Model, drift, write_schemas


class _Line(BaseModel):
    """The fields of every journal line."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    v: Literal[1]
    """The version of this format."""
    n: Annotated[int, Field(ge=1)]
    """The event number, over the whole state root."""
    seq: Annotated[int, Field(ge=1)]
    """The position in this journal."""
    at: str
    """The time, RFC 3339 in UTC."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class TodoRecord(_File):
    """The to-do list of a session."""

    session_id: str
    items: list[Todo]


def _entry(cls: type[Event]) -> Any:
    """Return the model of one kind of journal line; its keys are in the order of journals."""
    place: dict[str, Any] = {"session": (str, ...), "run": (str | None, ...)}
    if cls.stream is not None:
        own: Any = Annotated[str, Field(pattern=f"^{cls.stream}/[a-z0-9][a-z0-9._-]*$")]
        place = {"stream": (own if cls.journal_per_owner else Literal[cls.stream], ...)}
    about = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
    fields: dict[str, Any] = {"kind": (Literal[cls.kind], ...), **place, "actor": (str, ...), "data": (cls, ...)}
    doc = None if about.startswith(cls.__name__ + "(") else about  # not the generated signature
    return create_model(f"{cls.__name__}Line", __base__=_Line, __doc__=doc or f"{cls.kind}.", **fields)


def journal_entry() -> TypeAdapter[Any]:
    """Return the model of a journal line of any kind."""
    lines = tuple(_entry(cls) for _, cls in sorted(events.kinds().items()))
    kind: Any = Annotated[Union[lines], Field(discriminator="kind")]  # noqa: UP007 - made from a tuple
    return TypeAdapter(kind)


def _records() -> Mapping[str, Model]:
    """Return the model of each noun's Record that is what the API shows of it."""
    answers = {operation.path: operation.answer_model for operation in OPERATIONS if operation.method == "GET"}
    models = {}
    for noun in NOUNS:
        ends = (f"/{noun.name}s", f"/{noun.name}", f"/{noun.name}s/{{{noun.name}_id}}")
        shown = [model for path, model in answers.items() if path.endswith(ends) and model is not None]
        if shown and (noun.record or noun.filed):
            models[f"{noun.name}-record"] = next((one for one in shown if one.__name__ == _name(noun)), shown[-1])
    return models


def _name(noun: Noun) -> str | None:
    """Return the public name of a noun's view: other nouns have lists of the same name below their own paths."""
    view = get_type_hints(noun.view).get("return") if noun.view is not None else None
    return name_of(view) if isinstance(view, type) else None


def models() -> Mapping[str, Model]:
    """Return every model that has a schema file, by its name."""
    kinds = (*TOP.values(), *KINDS.values())
    return {
        **{kind.singular.replace("_", "-"): kind.model for kind in kinds},
        "script": Script,
        **_records(),
        "todo-record": TodoRecord,
        **{f"pending-{form.name}": form.model for form in FORMS.values()},
        "journal-entry": journal_entry(),
    }


def main(arguments: Sequence[str], folder: Path | None = None) -> int:
    """Write the files, or with `--check` report those that differ (exit code 1)."""
    folder = folder or resources.folder("schemas")
    if "--check" in arguments:
        for name in (changed := drift(models(), folder)):
            sys.stdout.write(f"{name}{SUFFIX} differs from the models: python -m kheish.generate.schemas\n")
        return 1 if changed else 0
    folder.mkdir(parents=True, exist_ok=True)
    known = models()
    for name in write_schemas(known, folder):
        sys.stdout.write(f"{'written' if name in known else 'removed'}: {name}{SUFFIX}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
