"""One endpoint as data: its method and path, what it takes, what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from kheish.api.http.answer import Answer, model_of
from kheish.api.http.paging import Param

#: statuses of problems that any endpoint with a token may answer with
COMMON = (400, 401, 403, 421, 429, 500, 503)
WRITES = (413, 415, 507)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answer` is what a good answer is, `page` says that it is a list of them, `media`
    and `or_media` what it comes as; `takes` is the media type of the body."""

    method: str
    path: str
    name: str
    about: str
    answer: type[Answer | BaseModel] | None = None
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

    @property
    def answer_model(self) -> type[BaseModel] | None:
        """The model of a good answer; a Definition's answer is its own model."""
        answer = self.answer
        return model_of(answer) if answer is not None and issubclass(answer, Answer) else answer

    @property
    def tag(self) -> str:
        """The noun that it is about."""
        parts = self.path.split("/")
        return parts[2] if parts[1] == "v1" else "daemon"


def get(
    path: str, name: str, about: str, answer: type[Answer | BaseModel] | None, *query: Param, **more: object
) -> Operation:
    """Something to read."""
    return Operation(method="GET", path=path, name=name, about=about, answer=answer, query=query, **more)  # type: ignore[arg-type]  # `more` is its other fields


def post(path: str, name: str, about: str, body: type[BaseModel], answer: type[Answer], **more: object) -> Operation:
    """Something to do."""
    return Operation(method="POST", path=path, name=name, about=about, body=body, answer=answer, **more)  # type: ignore[arg-type]  # `more` is its other fields
