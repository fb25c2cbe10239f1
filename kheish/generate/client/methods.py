"""The public methods of the client: a namespace, a name and arguments for each endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from kheish.api.http.operation import Operation
from kheish.api.http.paging import Param
from kheish.generate.client.endpoints import Endpoint, folded
from kheish.generate.client.shapes import Shapes, expression
from kheish.generate.client.table import NAMESPACES, PATH_NAMES, ROWS, Row

Place = Literal["path", "query", "body", "content", "changes", "key", "if_match", "if_none_match", "after"]
#: the namespace that all kinds of Definitions share; its first argument is bound
DEFINITIONS, KIND = "definitions", "kind"
STREAM = "text/event-stream"
BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a method, and the field of the request that it sets."""

    name: str
    field: str
    place: Place
    type: str
    default: str | None = None
    by_position: bool = False

    @property
    def declared(self) -> str:
        """The argument as declared in a signature."""
        return f"{self.name}: {self.type}" + (f" = {self.default}" if self.default is not None else "")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the client. `result` is the type that its request gives."""

    endpoint: Endpoint
    namespace: str
    name: str
    arguments: tuple[Argument, ...]
    result: str
    row: Row
    choices: tuple[str, ...] = ()

    @property
    def operation(self) -> Operation:
        """The operation, or the one that stands for several."""
        return self.endpoint.operation

    @property
    def is_stream(self) -> bool:
        """Return whether the method is an event stream."""
        return self.operation.media == STREAM

    @property
    def replaces_source(self) -> bool:
        """Return whether the file's text comes with an ETag, to be sent back with a change."""
        return self.result == "Text"


def derived(operations: Sequence[Operation], shapes: Shapes) -> list[Method]:
    """Return every method, sorted by namespace and name. Raises ValueError for two methods with the same name."""
    endpoints = folded(operations)
    namespaces = _namespaces(operations)
    counterparts = {endpoint.operation.name for endpoint in endpoints}
    every = (*operations, *(endpoint.operation for endpoint in endpoints))
    puts = {operation.path for operation in every if operation.method == "PUT"}
    methods = [_method(endpoint, shapes, namespaces, counterparts, puts) for endpoint in endpoints]
    methods.sort(key=lambda method: (method.namespace, method.name))
    for before, after in pairwise(methods):
        if (before.namespace, before.name) == (after.namespace, after.name):
            raise ValueError(
                f"{before.operation.name} and {after.operation.name} are both {after.namespace}.{after.name}; see table"
            )
    return methods


def _namespaces(operations: Iterable[Operation]) -> dict[str, str]:
    """Return the namespace of each noun: a noun with several paths has one, and a noun that is listed by its name."""
    names: dict[str, set[str]] = {}
    paths: dict[str, set[str]] = {}
    for operation in operations:
        if operation.tag != "daemon":
            names.setdefault(operation.tag, set()).add(operation.name)
            paths.setdefault(operation.tag, set()).add(operation.path)
    has_own = {noun: len(paths[noun]) > 1 or f"list_{noun}" in names[noun] for noun in paths}
    return {noun: NAMESPACES.get(noun, noun if own else "") for noun, own in has_own.items()} | {
        DEFINITIONS: DEFINITIONS
    }


def _method(
    endpoint: Endpoint, shapes: Shapes, namespaces: Mapping[str, str], counterparts: set[str], puts: set[str]
) -> Method:
    operation = endpoint.operation
    row = ROWS.get(operation.name, Row())
    namespace, name = _named(operation, namespaces, counterparts)
    if endpoint.is_source:
        name = f"{name}_text" if name != "get_text" else "text"
        name = name.removeprefix("get_")
    schema = shapes.request(operation)
    choices: Sequence[str] = schema["properties"][row.presets]["enum"] if row.presets else ()
    return Method(
        endpoint=endpoint,
        namespace=namespace if row.namespace is None else row.namespace,
        name=row.method or name,
        arguments=tuple(_arguments(endpoint, shapes, row)),
        result=_result(endpoint, shapes, operation.path in puts),
        row=row,
        choices=tuple(choices),
    )


def _named(operation: Operation, namespaces: Mapping[str, str], counterparts: set[str]) -> tuple[str, str]:
    """Return the namespace and the name of the method, both from the operation's words: `list_runs` is `runs.list`."""
    words = operation.name.removesuffix("_text").split("_")
    nouns = {noun: _forms(noun, namespace) for noun, namespace in namespaces.items() if namespace}
    noun = next((noun for noun, forms in nouns.items() if forms & set(words)), operation.tag)
    forms = _forms(noun, namespaces.get(noun, ""))
    rest = [word for word in words if word not in forms]
    single = "_".join(noun.removesuffix("s") if word == noun else word for word in words)
    if not rest:
        rest = ["get"] if operation.method == "GET" and namespaces.get(noun) else words
    elif operation.method == "GET" and len(rest) > 1 and rest[0] in ("list", "get"):
        rest = rest[1:]
    elif noun in words and rest[0] != "list" and single in counterparts - {operation.name}:
        rest = [*rest, "many"]
    return namespaces.get(noun, ""), "_".join(rest)


def _forms(noun: str, namespace: str) -> set[str]:
    return {noun, noun.removesuffix("s"), namespace, namespace.removesuffix("s")} - {""}


def _result(endpoint: Endpoint, shapes: Shapes, is_replaced: bool) -> str:
    operation = endpoint.operation
    if operation.media == STREAM:
        return "Stream"
    if endpoint.is_source:
        return "Text" if is_replaced else "str"
    if operation.answer is None:
        if operation.media == BINARY:
            return "bytes"
        return "str" if operation.good == (200,) else "None"
    return shapes.answer(operation)


def _arguments(endpoint: Endpoint, shapes: Shapes, row: Row) -> Iterator[Argument]:
    """Yield the arguments in the order of a signature."""
    every = [*_path(endpoint, row), *_query(endpoint.operation, row)]
    if not endpoint.is_source:
        every += _sent(endpoint.operation, shapes, row)
    required = [argument for argument in every if argument.default is None and argument.place != "changes"]
    rest = [argument for argument in every if argument not in required]
    named = [argument for field in row.positional for argument in rest if argument.field == field]
    for argument in (*required, *named):
        yield replace(argument, by_position=True)
    yield from (argument for argument in rest if argument not in named)


def _path(endpoint: Endpoint, row: Row) -> Iterator[Argument]:
    for name in re.findall(r"{(\w+)}", endpoint.operation.path):
        public = row.renamed.get(f"{{{name}}}", PATH_NAMES.get(name, name))
        type = f"Literal[{', '.join(map(repr, endpoint.choices))}]" if endpoint.choices else "str"
        yield Argument(public, name, "path", type)


def _query(operation: Operation, row: Row) -> Iterator[Argument]:
    for param in operation.query:
        public = row.renamed.get(param.name, param.name)
        place: Place = "after" if operation.media == STREAM and param.name == "after" else "query"
        type = _query_type(param)
        if param.required:
            yield Argument(public, param.name, place, type)
        else:
            yield Argument(public, param.name, place, f"{type} | None", "None")


def _query_type(param: Param) -> str:
    type = {"count": "int", "flag": "bool"}.get(param.kind, "str")
    return f"{type} | Sequence[{type}]" if param.many else type


def _sent(operation: Operation, shapes: Shapes, row: Row) -> Iterator[Argument]:
    """Yield the arguments that are not part of the address."""
    if operation.key:
        yield Argument("idempotency_key", "Idempotency-Key", "key", "str | None", "None")
    if operation.body is not None and operation.text:
        yield Argument("content", "", "content", "Mapping[str, Any] | str")
    elif operation.body is not None and operation.method == "PATCH":
        # null resets a field, so an absent one must differ from None.
        yield Argument("changes", "", "changes", f"Unpack[{shapes.request_name(operation)}]")
    else:
        yield from _fields(operation, shapes, row)
    if 412 in operation.problems:
        yield Argument("if_match", "If-Match", "if_match", "str | None", "None")
        if operation.method == "PUT":
            yield Argument("if_none_match", "If-None-Match", "if_none_match", "str | None", "None")


def _fields(operation: Operation, shapes: Shapes, row: Row) -> Iterator[Argument]:
    schema = shapes.request(operation)
    for field, inner in schema.get("properties", {}).items():
        if operation.key and field == "idempotency_key":
            continue  # the header already says so
        public, type = row.renamed.get(field, field), expression(inner, argument=True)
        if field in schema.get("required", ()):
            yield Argument(public, field, "body", type)
        elif type == "bool" and inner.get("default") is False:
            yield Argument(public, field, "body", type, "False")
        else:
            yield Argument(public, field, "body", type if type.endswith("None") else f"{type} | None", "None")
