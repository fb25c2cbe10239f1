"""Parsing of a model's input into a tool's arguments, by a pydantic model or by a JSON Schema.

A JSON Schema may come from third parties (a server, a package), so it is evaluated as contracts are: within a number of
steps, or in a confined child. An invalid null counts as omitted, since models send null for omitted arguments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from kheish.domain.contracts import check as contracts
from kheish.errors import Fault
from kheish.store.edits.problems import limit, pointer
from kheish.texts import is_number


class Arguments(BaseModel):
    """The base of all argument models: unknown arguments are refused, and reported to the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InvalidArguments(Exception):
    """An error for arguments that do not fit the tool. Each fault has its place, a JSON pointer into the arguments."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class InvalidSchema(ValueError):
    """An error for an unusable JSON Schema of a tool."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The accepted input of a tool. `blocks`: `parse` may wait seconds for a confined child, so use a thread."""

    schema: Mapping[str, Any]
    parse: Callable[[Mapping[str, Any]], Any]
    blocks: bool


def form(arguments: type[Arguments] | Mapping[str, Any]) -> Form:
    """Return the form of a pydantic model, or of a JSON Schema. Raises InvalidSchema."""
    return _of_schema(arguments) if isinstance(arguments, Mapping) else _of_model(arguments)


# --- a pydantic model -------------------------------------------------------------------------------------------------


def _of_model(model: type[Arguments]) -> Form:
    known = list(model.model_fields)

    def parse(raw: Mapping[str, Any]) -> Arguments:
        try:
            return _validated(model, dict(raw))
        except ValidationError as error:
            raise InvalidArguments(
                [
                    Fault(pointer(item["loc"]), _message(item, known))
                    for item in error.errors(include_url=False, include_input=False)
                ]
            ) from None

    return Form(schema=_schema(model), parse=parse, blocks=False)


@cache
def _schema(model: type[Arguments]) -> Mapping[str, Any]:
    """Return the JSON Schema of a model; the tools are made twice, for the agents and for the names in Playbooks."""
    return model.model_json_schema()


def _validated(model: type[Arguments], raw: dict[str, Any]) -> Arguments:
    """Return the arguments, without invalid nulls. If a value is required there, the first error reports it.

    Raises ValidationError.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        places = [item["loc"] for item in error.errors(include_url=False, include_context=False) if _is_null(item)]
        if not places:
            raise
        try:
            return model.model_validate(_drop_nulls(raw, places))
        except ValidationError as other:
            is_needed = any(item["type"] == "missing" and item["loc"] in places for item in other.errors())
            raise (error if is_needed else other) from None


def _is_null(item: Any) -> bool:
    return item["input"] is None and item["type"] not in ("missing", "extra_forbidden")


def _message(item: ErrorDetails, known: list[str]) -> str:
    kind, where = item["type"], item["loc"]
    if kind == "missing":
        return "is missing"
    if (words := limit(kind, item.get("ctx", {}))) is not None:
        return words
    if kind != "extra_forbidden":
        return f"{item['msg'][:1].lower()}{item['msg'][1:]}"
    near = get_close_matches(str(where[-1]), known, n=1, cutoff=0.5) if len(where) == 1 else []
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no such argument{hint}"


# --- a JSON Schema ----------------------------------------------------------------------------------------------------


def _of_schema(schema: Mapping[str, Any]) -> Form:
    """Return the form of a JSON Schema. It blocks for a large schema: call it in a thread for third-party schemas."""
    own = copy.deepcopy(dict(schema))
    faults = contracts.check_schema(own)
    if not faults and own.get("type") != "object":
        faults = [Fault("/type", "must be object: arguments have names")]
    if faults:
        raise InvalidSchema(faults)

    def parse(raw: Mapping[str, Any]) -> dict[str, Any]:
        value = dict(raw)
        faults = contracts.faults(own, value)
        nulls = [steps for fault in faults if (steps := _null_at(value, fault.path))]
        if nulls:
            shorter = _drop_nulls(value, nulls)
            if not contracts.faults(own, shorter):
                return shorter
        if faults:
            raise InvalidArguments(faults)
        return value

    return Form(schema=own, parse=parse, blocks=True)


def _null_at(value: Any, path: str) -> tuple[str, ...]:
    """Return the steps to a null at a JSON pointer; none if another value is there."""
    steps = steps_of(path)
    for step in steps:
        value = _member(value, step)
    return steps if value is None else ()


def steps_of(path: str) -> tuple[str, ...]:
    """Return the steps of a JSON pointer."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])


# --- both -------------------------------------------------------------------------------------------------------------

_ABSENT = object()


def _member(holder: Any, step: int | str) -> Any:
    if isinstance(holder, dict):
        return holder.get(step, _ABSENT)
    if isinstance(holder, list) and is_number(str(step)) and int(step) < len(holder):
        return holder[int(step)]
    return _ABSENT


def _drop_nulls(raw: dict[str, Any], places: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """Return a copy without the nulls at these places. An unresolvable step is the label of a union."""
    made = copy.deepcopy(raw)
    for *steps, name in places:
        holder: Any = made
        for step in steps:
            inner = _member(holder, step)
            holder = holder if inner is _ABSENT else inner
        if isinstance(holder, dict) and holder.get(name, 0) is None:
            del holder[name]
    return made
