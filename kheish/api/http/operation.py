"""An endpoint as data: its method and path, the handler that answers, what it takes, what it answers.

A noun's module has the tuple `OPERATIONS` of these, and nothing else lists its routes: the routes, the known query
parameters, the description, the reference and the clients are made from the union of the tuples (`api/operations.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel

from kheish.api.http.answer import Answer, model_of
from kheish.api.http.paging import Param
from kheish.domain.shown import View

#: statuses of problems that any endpoint with a token may answer with
COMMON = (400, 401, 403, 421, 429, 500, 503)
WRITES = (413, 415, 507)

#: a method of a resource, as its class has it: resource, request, response, ids of the path
Handler = Callable[..., Awaitable[None]]
#: makes a resource from what the API is given
Make = Callable[[Any], object]
Answers = type[Answer | View | BaseModel]
#: what ties an endpoint to sessions: the class of the thing that the path names, the query's `session`, or nothing
Tie = type | Literal["query", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    `name` is the handler's own where none is given. `answer` is what a good answer is, `page` says that it is a list of
    them, `media` and `or_media` what it comes as; `takes` is the media type of the body. `open` needs no token, `early`
    is answered while the daemon starts, `decides` is taken where the branch was moved back. `tie` is how a token for
    some sessions is held to these; without one, the path names a session, or such a token is refused.
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
    tie: Tie | None = None
    make: Make | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.handler.__name__)

    @property
    def answer_model(self) -> type[BaseModel] | None:
        """The model of a good answer; a Definition's answer is its own model."""
        answer = self.answer
        if answer is None or issubclass(answer, BaseModel):
            return answer
        return model_of(answer)

    @property
    def tag(self) -> str:
        """The noun that it is about."""
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
    """Return an operation that makes or does something."""
    return Operation(
        method="POST", path=path, handler=handler, about=about, body=body, answer=answer, query=query, **more
    )


def put(path: str, handler: Handler, about: str, body: type[BaseModel], answer: Answers, **more: Any) -> Operation:
    """Return an operation that makes (201) or replaces (200) the thing of its path."""
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
    """Return the operations with what makes the resource of their handlers: a class, or a partial of one."""
    return tuple(replace(operation, make=make) for operation in operations)
