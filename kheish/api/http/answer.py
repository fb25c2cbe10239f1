"""Responses as models.

A noun's answer is the view that its domain module makes (`domain.shown.View`); other answers are classes of annotations
(`Answer`). Neither is validated on output. Pydantic models of them are created on demand: otherwise the daemon's start
would spend a fifth of its imports on models that serve the description.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import StrEnum
from functools import cache, reduce
from itertools import pairwise
from operator import or_
from types import UnionType, new_class
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from kheish.domain.shown import View
from kheish.state.event import Spilled


class Answer:
    """Annotated names, each with its description below it. A trailing underscore marks the name of a Python keyword."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(model_of(cls))


Shape = Answer | View


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


def model_of(cls: type[Shape]) -> type[BaseModel]:
    """Return the equivalent model: OpenAPI describes answers from it, and tests validate answers with it."""
    return _made(cls)  # type: ignore[arg-type]  # mypy does not see that a class can be hashed


def name_of(cls: type) -> str:
    """Return the public name of the class."""
    return cls.shown_as or cls.__name__.removesuffix("View") if issubclass(cls, View) else cls.__name__


@cache
def _made(cls: type[Shape]) -> type[BaseModel]:
    bases = tuple(model_of(base) for base in cls.__bases__ if base not in (Answer, View)) or (_Model,)
    texts, defaults = _texts(cls.__module__).get(cls.__name__, {}), _defaults(cls)
    hints = get_type_hints(cls)
    hidden = cls.internal if issubclass(cls, View) else frozenset()
    names = (name for name in inspect.get_annotations(cls) if name not in hidden)
    annotations = {name: _shown(hints[name]) for name in names}
    members = {
        name: Field(
            defaults.get(name, None if "of_now" in vars(cls) and cls is not View else ...),
            alias=name.removesuffix("_") if name.endswith("_") else None,
            description=texts.get(name),
        )
        for name in annotations
    }
    body = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__annotations__": annotations, **members}
    return new_class(name_of(cls), bases, exec_body=lambda space: space.update(body))


def _defaults(cls: type[Shape]) -> Mapping[str, Any]:
    if issubclass(cls, Answer):
        return cls.__dict__
    if cls.shown_as:
        return {}
    return {one.name: one.default for one in fields(cls) if one.default is not MISSING}  # type: ignore[arg-type]  # each view is a dataclass


def _shown(hint: Any) -> Any:
    """Return a type as callers see it: views as models, and payloads whole if the value may hold a reference."""
    if isinstance(hint, type) and issubclass(hint, View):
        return model_of(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return Literal[tuple(map(str, hint))]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return reduce(or_, [_shown(one) for one in args if one is not Spilled])
    return origin[tuple(_shown(one) for one in args)] if origin in (list, tuple) else hint


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return the description below each annotated name, by class."""
    texts: dict[str, dict[str, str]] = {}
    for one in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(one, ast.ClassDef):
            texts[one.name] = {
                before.target.id: inspect.cleandoc(after.value.value)
                for before, after in pairwise(one.body)
                if isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            }
    return texts


class Free(Answer):
    """An object. Its fields are described in docs."""


class Fault(Answer):
    """A faulty place in the request."""

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
