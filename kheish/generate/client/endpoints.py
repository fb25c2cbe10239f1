"""Endpoints: operations that differ only in one segment of their path are merged, with an argument for the segment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kheish.api.http.operation import Operation
from kheish.domain.definitions import KINDS, Kind
from kheish.generate.client.table import PAGES, TOGETHER


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation with the paths that it stands for, keyed by the names of the API's operations. `choices` are the
    values of the last path parameter. A source is the text of a file that is also available as JSON."""

    operation: Operation
    stands_for: Mapping[str, str]
    choices: tuple[str, ...] = ()
    is_source: bool = False


def folded(operations: Sequence[Operation]) -> list[Endpoint]:
    """Return an endpoint for each method of a client."""
    plain = [operation for operation in operations if operation.name not in PAGES]
    together = list(_merged(plain))
    done = {name for endpoint in together for name in endpoint.stands_for}
    kinds = list(_kind_endpoints([operation for operation in plain if operation.name not in done]))
    done |= {name for endpoint in kinds for name in endpoint.stands_for}
    alone = [Endpoint(one, {one.name: one.path}) for one in plain if one.name not in done]
    every = [*together, *kinds, *alone]
    return [*every, *_sources(every)]


def _merged(operations: Iterable[Operation]) -> Iterator[Endpoint]:
    by_name = {operation.name: operation for operation in operations}
    for (name, argument), names in TOGETHER.items():
        members = [by_name[member] for member in names]
        stems = {member.path.rpartition("/")[0] for member in members}
        if len(stems) > 1 or any(_request(member) != _request(members[0]) for member in members):
            raise ValueError(f"{', '.join(names)} differ in more than the last segment of their paths")
        path = f"{stems.pop()}/{{{argument}}}"
        lines = (f"`{member.path.rpartition('/')[2]}`: {member.about}" for member in members)
        choices = tuple(member.path.rpartition("/")[2] for member in members)
        one = replace(members[0], name=name, path=path, about=" ".join(lines))
        yield Endpoint(one, {member.name: member.path for member in members}, choices)


def _request(operation: Operation) -> tuple[object, ...]:
    """Return what a client sends and reads, except the path."""
    return operation.method, operation.body, tuple(operation.query), operation.answer, operation.page, operation.media


def _kind_endpoints(operations: Iterable[Operation]) -> Iterator[Endpoint]:
    """Yield the endpoints that every kind of Definition has. A kind whose operation takes further parameters has one of
    its own."""
    groups: dict[tuple[str, str, str], list[Operation]] = {}
    general: dict[tuple[str, str, str], Operation] = {}
    for operation in operations:
        kind = KINDS.get(operation.tag)
        if kind is not None:
            one = _general(operation, kind)
            key = (one.method, one.path, one.name)
            groups.setdefault(key, []).append(operation)
            general.setdefault(key, one)
    for key, members in groups.items():
        if len(members) == len(KINDS):
            query = tuple(general[key].query)
            alike = [member for member in members if tuple(member.query) == query]
            yield Endpoint(general[key], {member.name: member.path for member in alike})


def _general(operation: Operation, kind: Kind) -> Operation:
    def plain(text: str, many: str, one: str) -> str:
        text = re.sub(rf"(?<![^\W_]){kind.singular}(?![^\W_])", one, text)
        return re.sub(rf"(?<![^\W_]){kind.name}(?![^\W_])", many, text)

    return replace(
        operation,
        name=plain(operation.name, "definitions", "definition"),
        path="/".join("{kind}" if part == kind.name else part for part in operation.path.split("/")),
        about=plain(operation.about, "Definitions", "Definition"),
    )


def _sources(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    for endpoint in endpoints:
        if endpoint.operation.text and endpoint.operation.method == "GET":
            about = f"{endpoint.operation.about.rstrip('.')}: the file's own text, byte for byte."
            one = replace(endpoint.operation, name=f"{endpoint.operation.name}_text", about=about)
            yield replace(endpoint, operation=one, is_source=True)
