"""The fields of a model as rows of a table: path, type in words, default, and what it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Schema = Mapping[str, Any]
_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true / false",
          "object": "mapping", "null": "null", "array": "list"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One key that a file may have."""

    path: tuple[str, ...]
    type: str
    default: str
    about: str


def rows(model: type[BaseModel]) -> Iterator[Row]:
    """Return the keys of a model, those of models within it after their parent's path; items of lists as `name[]`."""
    return schema_rows(model.model_json_schema(mode="validation"))


def schema_rows(schema: Schema) -> Iterator[Row]:
    """Return the same of a model's JSON Schema."""
    return _rows(schema, schema.get("$defs", {}), (), (schema,))


def _rows(schema: Schema, known: Schema, path: tuple[str, ...], above: tuple[Schema, ...]) -> Iterator[Row]:
    """Yield the rows of a schema. A schema that is within itself (one of `above`) has no rows there."""
    for name, given in schema.get("properties", {}).items():
        field = given if isinstance(given, Mapping) else {}  # JSON Schema allows true, for anything
        inner, where = _inner(field, known), (*path, name)
        if inner is not None and inner.get("properties") and not any(inner is one for one in above):
            is_list = _is_list(field)
            if is_list or len(_members(field)) > 1:
                yield Row(where, _type(field, known), _default(name, field, schema), field.get("description", ""))
            yield from _rows(inner, known, (*path, f"{name}[]") if is_list else where, (*above, inner))
        else:
            about = field.get("description") or (inner or {}).get("description", "")
            yield Row(where, _type(field, known), _default(name, field, schema), about)


def _members(field: Schema) -> list[Schema]:
    found = field.get("anyOf") or field.get("oneOf")
    if not found:
        return [] if field.get("type") == "null" else [field]
    return [one for member in found if isinstance(member, Mapping) for one in _members(member)]


def _is_list(field: Schema) -> bool:
    return any(one.get("type") == "array" for one in _members(field))


def _inner(field: Schema, known: Schema) -> Schema | None:
    """Return the model that a field holds, or a list of which it holds. A script has its own table."""
    for one in _members(field):
        for at in (one, one.get("items", {}), *one.get("allOf", ())):
            if isinstance(at, Mapping) and "$ref" in at:
                name = at["$ref"].rsplit("/", 1)[-1]
                return None if name == "Script" else known.get(name)
    return None


def _type(field: Schema, known: Schema) -> str:
    return " or ".join(dict.fromkeys(_word(one, known) for one in _members(field)))


def _word(field: Schema, known: Schema) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        target = known.get(name, {})
        return "mapping" if target.get("type", "object") == "object" else _word(target, known)
    if "enum" in field:
        return " / ".join(f"`{one}`" for one in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_word(field['items'], known)}" if isinstance(field.get("items"), Mapping) else "list"
    if str(field.get("pattern", "")).startswith(r"^\d+(\.\d+)?(ms"):
        return "duration"
    return _NAMES.get(str(field.get("type")), "anything")


def _default(name: str, field: Schema, schema: Schema) -> str:
    if name in schema.get("required", ()):
        return "required"
    value = field.get("default")
    return "" if value in (None, [], {}) else f"`{value if isinstance(value, str) else json.dumps(value)}`"
