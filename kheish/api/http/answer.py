"""The base of what callers get. Answers are made by the domain's views and are not validated on their way out, so their
classes are annotations only; pydantic's model of one is made when it is asked for, since a start of the daemon would
spend a fifth of its imports on models that serve the description."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from types import new_class
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class Answer:
    """Annotated names, each with its text below it. One that ends with an underscore stands for a word of Python."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(model_of(cls))


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


def model_of(cls: type[Answer]) -> type[BaseModel]:
    """The same as a model: OpenAPI describes answers from it, and tests hold answers against it."""
    return _made(cls)  # type: ignore[arg-type]  # mypy does not see that a class can be hashed


@cache
def _made(cls: type[Answer]) -> type[BaseModel]:
    bases = tuple(model_of(base) for base in cls.__bases__ if base is not Answer) or (_Model,)
    texts = _texts(cls.__module__).get(cls.__name__, {})
    names = inspect.get_annotations(cls)
    fields = {
        name: Field(
            cls.__dict__.get(name, ...),
            alias=name.removesuffix("_") if name.endswith("_") else None,
            description=texts.get(name),
        )
        for name in names
    }
    body = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__annotations__": names, **fields}
    return new_class(cls.__name__, bases, exec_body=lambda space: space.update(body))


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """The text below each annotated name, by class."""
    found: dict[str, dict[str, str]] = {}
    for one in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(one, ast.ClassDef):
            found[one.name] = {
                before.target.id: inspect.cleandoc(after.value.value)
                for before, after in pairwise(one.body)
                if isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            }
    return found


class Free(Answer):
    """An object; its fields are described in docs."""


class Fault(Answer):
    """One place that is wrong."""

    path: str
    """A JSON pointer into the request; `?name` for a query parameter."""
    message: str


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    domain: str
    errors: list[Fault]
