"""The JSON of requests and responses as TypedDicts, from the JSON Schemas of their models."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from kheish.api.http.operation import Operation
from kheish.generate.client.table import OPEN, PAGES, SHAPES
from kheish.generate.client.text import docstring, imports

Schema = Mapping[str, Any]
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_HEAD = '''\
"""The JSON of the API as types. More fields may come; none is renamed."""

from __future__ import annotations

'''
_PAGE = '''

T = TypeVar("T")
Json = dict[str, Any]


class Page(TypedDict, Generic[T]):
    """One page of a list, newest first (journals oldest first)."""

    items: list[T]
    next_cursor: str | None
'''


@dataclass(frozen=True, slots=True)
class Shapes:
    """The schemas of all models that operations name, including nested ones."""

    schemas: Mapping[str, Schema]
    names: Mapping[tuple[Any, JsonSchemaMode], str]

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> Shapes:
        """Return the shapes of these operations. Raises ValueError for two models with one name."""
        models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
        for operation in operations:
            if operation.name in PAGES:
                continue
            if operation.body is not None:
                models[operation.body, "validation"] = None
            if (answer := operation.answer_model) is not None:
                models[answer, "serialization"] = None
        references, document = models_json_schema(list(models), ref_template="{model}")
        schemas = document.get("$defs", {})
        public = [shape(name) for name in schemas]
        if twice := {name for name in public if public.count(name) > 1}:
            raise ValueError(f"several models are called {', '.join(sorted(twice))}; see table.SHAPES")
        return cls(schemas, {(key[0], key[1]): str(reference["$ref"]) for key, reference in references.items()})

    def answer(self, operation: Operation) -> str:
        """Return the type of a successful response."""
        model = operation.answer_model
        assert model is not None
        name = reference(self.names[model, "serialization"])
        return f"Page[{name}]" if operation.page else name

    def request(self, operation: Operation) -> Schema:
        """Return the schema of a body; empty for an operation without a body."""
        return self.schemas[self.names[operation.body, "validation"]] if operation.body is not None else {}

    def request_name(self, operation: Operation) -> str:
        """Return the name of a body's shape."""
        assert operation.body is not None
        return reference(self.names[operation.body, "validation"])

    def body(self) -> str:
        """Return the module."""
        written = sorted((shape(name), schema) for name, schema in self.schemas.items() if not _is_open(name))
        classes = "\n\n".join("\n".join(_class(name, schema)) for name, schema in written)
        text = f"{_PAGE}\n\n{classes}\n"
        needed = imports({"typing": ("Any", "Generic", "Literal", "NotRequired", "TypedDict", "TypeVar")}, text)
        return _HEAD + "\n".join(needed) + text


def shape(model: str) -> str:
    """Return the public name of a model's shape."""
    name = model.replace("-", "").removesuffix("View")
    return SHAPES.get(name, name)


def reference(model: str) -> str:
    """Return the type that stands for a model."""
    return "Json" if _is_open(model) else shape(model)


def _is_open(model: str) -> bool:
    return model.removesuffix("View") in OPEN


_SECRET = re.compile("pass|secret|token")


def _class(name: str, schema: Schema) -> Iterator[str]:
    """Yield the lines of one TypedDict."""
    fields: Schema = schema.get("properties", {})
    required = set(schema.get("required", ()))
    about = schema.get("description") or f"The JSON of {name}."
    types = {
        field: expression(inner) if field in required else f"NotRequired[{expression(inner)}]"
        for field, inner in fields.items()
    }
    if any(keyword.iskeyword(field) or not field.isidentifier() for field in fields):
        # A key that is a Python keyword needs the functional syntax.
        yield f"{name} = TypedDict({name!r}, {{"
        # bandit takes the type beside a name such as `token` for a value
        yield from (
            f"{field!r}: {type!r},{'  # nosec B105' if _SECRET.search(field) else ''}" for field, type in types.items()
        )
        yield "})"
        yield docstring(about)
        return
    yield f"class {name}(TypedDict):"
    yield docstring(about, "    ")
    yield ""
    for field, type in types.items():
        yield f"    {field}: {type}"
        if text := fields[field].get("description"):
            yield docstring(text, "    ")


def expression(schema: Schema, *, argument: bool = False) -> str:
    """Return a schema as a type. An `argument` accepts more: any text for a choice, any mapping for an object."""
    parts = dict.fromkeys(part for member in _members(schema) for part in _one(member, argument))
    if "None" in parts:  # None comes last
        parts = dict.fromkeys([*(part for part in parts if part != "None"), "None"])
    return "Any" if "Any" in parts else " | ".join(parts)


def _members(schema: Schema) -> list[Schema]:
    members = schema.get("anyOf") or schema.get("oneOf")
    return [inner for member in members for inner in _members(member)] if members else [schema]


def _one(schema: Schema, argument: bool) -> Iterator[str]:
    """Yield the types of a schema that is not a union."""
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if "$ref" in schema:
        yield reference(str(schema["$ref"]))
        if argument:
            yield "Json"
    elif choices:
        yield "str" if argument else f"Literal[{', '.join(map(repr, choices))}]"
    elif schema.get("type") == "array":
        inner = expression(schema.get("items") or {}, argument=argument)
        yield f"{'Sequence' if argument else 'list'}[{inner}]"
    elif schema.get("type") == "object":
        yield _mapping(schema.get("additionalProperties"), argument)
    else:
        yield _PLAIN[schema["type"]] if "type" in schema else "Any"


def _mapping(values: object, argument: bool) -> str:
    if isinstance(values, dict) and values:
        inner = expression(values, argument=argument)
        return f"{'Mapping' if argument else 'dict'}[str, {inner}]"
    return "Mapping[str, Any]" if argument else "Json"
