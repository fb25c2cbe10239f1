"""The dialects of JSON Schema that contracts may use: the newest by default, and older ones by their `$schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from referencing import Specification

#: the dialect of a schema without `$schema`
DEFAULT = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07 = "http://json-schema.org/draft-07/schema"
#: by address, without the final `#`: the names of the validator and of the specification
_KNOWN = {
    DEFAULT: ("Draft202012Validator", "DRAFT202012"),
    "https://json-schema.org/draft/2019-09/schema": ("Draft201909Validator", "DRAFT201909"),
    DRAFT_07: ("Draft7Validator", "DRAFT7"),
    "http://json-schema.org/draft-06/schema": ("Draft6Validator", "DRAFT6"),
    "http://json-schema.org/draft-04/schema": ("Draft4Validator", "DRAFT4"),
}

#: keywords whose values are no schemas
_VALUES = frozenset(("const", "default", "enum", "examples"))


def of(schema: Any) -> str | None:
    """Return the address of a schema's dialect; None if it is unknown. `https` counts as `http`, and a missing `#` as
    one."""
    named = schema.get("$schema", DEFAULT) if isinstance(schema, Mapping) else DEFAULT
    if not isinstance(named, str):
        return None
    address = named.rstrip("#")
    return next((known for known in _KNOWN if known.partition(":")[2] == address.partition(":")[2]), None)


def unnamed(schema: Any) -> Any:
    """Return a schema without `$schema` in it and its subschemas.

    Where it is named, jsonschema takes the dialect's own validator for that part, which counts no steps: a reference to
    the whole schema would run for ever.
    """
    if isinstance(schema, list):
        return [unnamed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: value if name in _VALUES else unnamed(value)
        for name, value in schema.items()
        if not (name == "$schema" and isinstance(value, str))
    }


def names() -> str:
    """Return the known dialects for a message."""
    return ", ".join(_KNOWN)


def validator(dialect: str) -> Any:
    """Return the class that validates values by a dialect."""
    import jsonschema

    return getattr(jsonschema, _KNOWN[dialect][0])


def specification(dialect: str) -> Specification[Any]:
    """Return the dialect's rules for subschemas and references."""
    from referencing import jsonschema

    found: Specification[Any] = getattr(jsonschema, _KNOWN[dialect][1])
    return found
