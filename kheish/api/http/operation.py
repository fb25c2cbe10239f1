"""An endpoint as data: its method, path, handler, parameters, body and answer.

A noun's module has the tuple `OPERATIONS` of these, and nothing else lists its routes: the routes, the query
parameters, the description, the reference and the clients are generated from the union of the tuples
(`api/operations.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from kheish.api.http.answer import Answer, model_of
from kheish.api.http.paging import Param
from kheish.domain.shown import View

#: statuses of problems that any endpoint with a token may return
COMMON = (400, 401, 403, 421, 429, 500, 503)
WRITES = (413, 415, 507)
#: methods that write what the path names, so that `If-Match` is compared or refused (412)
GUARDED = ("PUT", "PATCH", "DELETE")

#: a method of a resource, as its class has it: resource, request, response, ids of the path
Handler = Callable[..., Awaitable[None]]
#: makes a resource from the services
Make = Callable[[Any], object]
Answers = type[Answer | View | BaseModel]
#: the relation of an endpoint to sessions: the class of the thing that the path names, the query's `session`, the agent
#: in the path, the project in the path, a session that the body creates (its handler checks it), or none
Tie = type | Literal["query", "agent", "project", "new", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a path.

    `name` defaults to the handler's own name. `answer` is the model of a good answer, `page` marks a list of them,
    `media` and `or_media` are its media types; `takes` is the media type of the body. `open` needs no token, `early` is
    answered while the daemon starts, `decides` is permitted after the branch was moved back, `foreign` ignores unknown
    parameters of the query, which another program writes. `tie` relates the endpoint
    to sessions, for tokens with a session filter; without it, the path must name a session, or such a token is refused.
    """

    method: str
    path: str
    handler: Handler
    about: str
    name: str = ""
    answer: Answers | None = None
    page: bool = False
    media: str = "application/json"
    or_media: str | None = None
    good: tuple[int, ...] = (200,)
    problems: tuple[int, ...] = ()
    body: type[BaseModel] | None = None
    takes: str = "application/json"
    query: Sequence[Param] = ()
    key: bool = False
    text: bool = False
    open: bool = False
    early: bool = False
    decides: bool = False
    foreign: bool = False
    tie: Tie | None = None
    make: Make | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.handler.__name__)

    @property
    def answer_model(self) -> type[BaseModel] | None:
        """Return the model of a good answer; a Definition's answer is its own model."""
        answer = self.answer
        if answer is None or issubclass(answer, BaseModel):
            return answer
        return model_of(answer)

    @property
    def tag(self) -> str:
        """The noun of the endpoint."""
        parts = self.path.split("/")
        return parts[2] if parts[1] == "v1" else "daemon"


def get(path: str, handler: Handler, about: str, answer: Answers | None, *query: Param, **more: Any) -> Operation:
    """Return an operation that reads."""
    return Operation(method="GET", path=path, handler=handler, about=about, answer=answer, query=query, **more)


def post(
    path: str,
    handler: Handler,
    about: str,
    body: type[BaseModel] | None,
    answer: Answers | None,
    *query: Param,
    **more: Any,
) -> Operation:
    """Return an operation that creates or does something."""
    return Operation(
        method="POST", path=path, handler=handler, about=about, body=body, answer=answer, query=query, **more
    )


def put(path: str, handler: Handler, about: str, body: type[BaseModel], answer: Answers, **more: Any) -> Operation:
    """Return an operation that creates (201) or replaces (200) the thing of its path."""
    return Operation(
        method="PUT", path=path, handler=handler, about=about, body=body, answer=answer, good=(200, 201), **more
    )


def patch(path: str, handler: Handler, about: str, body: type[BaseModel], answer: Answers, **more: Any) -> Operation:
    """Return an operation that changes some of a thing's fields."""
    return Operation(method="PATCH", path=path, handler=handler, about=about, body=body, answer=answer, **more)


def delete(path: str, handler: Handler, about: str, answer: Answers | None = None, **more: Any) -> Operation:
    """Return an operation that removes a thing; without an answer, its status is 204."""
    good = (204,) if answer is None else (200,)
    return Operation(method="DELETE", path=path, handler=handler, about=about, answer=answer, good=good, **more)


def bind(make: Make, *operations: Operation) -> tuple[Operation, ...]:
    """Return the operations bound to the factory of their handlers' resource: a class, or a partial of a class."""
    return tuple(replace(operation, make=make) for operation in operations)
