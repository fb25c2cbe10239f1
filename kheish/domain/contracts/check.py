"""Contracts: JSON Schema for the input and output of runs; every error has its path.

Schemas come from callers, texts from models. Nothing is fetched: a `$ref` must stay inside the schema. A pattern with a
nested repetition is refused, because Python's `re` can take exponential time on it. Small schemas are checked in
process, within a number of steps, if they have no patterns, or only cheap ones and a short value. All others run in a
child process with a deadline, since even `.*.*.*x$` takes hours over a long text. So the functions here block: call
them in a thread.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from re import _parser as parser  # type: ignore[attr-defined]  # the parser of re.compile; it has no public name
from typing import TYPE_CHECKING, Any

from kheish.domain.contracts import dialects, patterns, steps as schema_steps
from kheish.errors import Fault
from kheish.jobs import confined

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from referencing import Registry, Resource

Schema = Mapping[str, Any] | bool

MAX_SCHEMA_BYTES = 256 * 1024
MAX_TEXT_CHARS = 4 * 1024 * 1024
MAX_FAULTS = 100
_MAX_DEPTH = 100
_MAX_PATTERN = 1000
_MAX_MESSAGE = 300
#: bytes of a schema, and characters of a value as JSON, up to which they are checked in process
_SMALL_SCHEMA, _SMALL_VALUE = 2048, 16 * 1024
_SMALL_STEPS = 4000
#: characters of a value as JSON up to which cheap patterns are matched in process
_SHORT_VALUE = 128
_SECONDS = 10.0
_POOL = confined.Pool("contracts")
_FENCE = re.compile(r"\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*", re.DOTALL)
#: repetitions of variable length in a pattern: few enough to try all ways of splitting a text among them
_FEW = 4


def check_schema(schema: Any) -> list[Fault]:
    """Return the faults of a caller's schema; empty for a usable one. Paths are JSON pointers into it."""
    if not isinstance(schema, dict | bool):
        return [Fault("", "must be an object, or true or false")]
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        return [Fault("", f"is not JSON: {error}")]
    if len(text) > MAX_SCHEMA_BYTES:
        return [Fault("", f"is larger than {MAX_SCHEMA_BYTES // 1024} KiB")]
    if _depth(json.loads(text)) > _MAX_DEPTH:
        return [Fault("", f"is nested more than {_MAX_DEPTH} levels deep")]
    if len(text) > _SMALL_SCHEMA:
        return _confined(judge_schema, text)
    return [Fault(*one) for one in judge_schema(text)]


def judge_schema(text: str) -> list[tuple[str, str]]:
    """Return the path and message of each fault of a schema, given as JSON of a bounded size."""
    schema = json.loads(text)
    dialect = dialects.of(schema)
    if dialect is None:  # its keywords would produce misleading errors
        return [("/$schema", f"must be one of {dialects.names()}, or omitted")]
    problems = _faults_by(dialect, schema)
    if problems and "$schema" not in schema and not _faults_by(dialects.DRAFT_07, schema):
        problems.append(Fault("/$schema", f"is missing: by draft-07 it is valid ({dialects.DRAFT_07})"))
    problems = problems or list(islice(_unusable(schema, dialect), MAX_FAULTS))
    return [(fault.path, fault.message) for fault in problems]


def _faults_by(dialect: str, schema: Schema) -> list[Fault]:
    validator = dialects.validator(dialect)
    return _listed(validator(validator.META_SCHEMA).iter_errors(schema))


def faults(schema: Schema, value: Any) -> list[Fault]:
    """Return the first 100 places where the value does not fit the schema; paths are JSON pointers into the value."""
    text = json.dumps(schema)
    try:
        document = json.dumps(value)
    except RecursionError:
        return [Fault("", "the value is nested too deep")]
    if _is_small(schema, text, document):
        with contextlib.suppress(schema_steps.TooManySteps):
            return [Fault(*one) for one in judge(text, document, _SMALL_STEPS)]
    return _confined(judge, text, document, schema_steps.MOST)


def _is_small(schema: Schema, text: str, document: str) -> bool:
    """Return whether a value is checked in process; schema and value are given as JSON, too."""
    if len(text) > _SMALL_SCHEMA or len(document) > _SMALL_VALUE:
        return False
    return '"pattern' not in text or (len(document) <= _SHORT_VALUE and patterns.are_cheap(schema))


def _confined(function: Callable[..., list[tuple[str, str]]], *args: Any) -> list[Fault]:
    try:
        return [Fault(*one) for one in _POOL.run(function, *args, seconds=_SECONDS)]
    except (confined.Overdue, confined.Failed):
        return [Fault("", "validating this takes too many steps; simplify the schema")]


def judge(schema: str, given: str, steps: int) -> list[tuple[str, str]]:
    """Return the path and message of each fault of a value; schema and value are JSON. Raises TooManySteps."""
    from referencing.exceptions import Unresolvable

    try:
        schema_steps.counting(steps)
        return [(fault.path, fault.message) for fault in _listed(_validator(schema).iter_errors(json.loads(given)))]
    except Unresolvable as error:
        return [("", f"the schema refers to {error.ref!r}, which is not in it, and nothing is fetched")]
    except RecursionError:
        return [("", "the schema refers to itself endlessly, or the value is nested too deep")]


def parse_output(text: str) -> Any:
    """Return the value of a final text: plain JSON, or a single fenced block that is the whole text. Raises
    ValueError."""
    if len(text) > MAX_TEXT_CHARS:
        raise ValueError(f"is longer than {MAX_TEXT_CHARS} characters")
    fenced = _FENCE.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"is not JSON ({error.msg}, {where}); give the JSON alone, or in one ```json block") from None
    except RecursionError:
        raise ValueError("is not JSON that can be read: nested too deep") from None


def output_faults(schema: Schema, text: str) -> list[Fault]:
    """Return the places where a run's final text breaks its output contract.

    For a schema of type string, the text itself is the value.
    """
    return _text_faults(schema, text)


def input_faults(schema: Schema, text: str) -> list[Fault]:
    """Return the places where a submission's text breaks the input contract; it is read like an output."""
    return _text_faults(schema, text)


def _text_faults(schema: Schema, text: str) -> list[Fault]:
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        if len(text) > MAX_TEXT_CHARS:
            return [Fault("", f"is longer than {MAX_TEXT_CHARS} characters")]
        return faults(schema, text)
    try:
        value = parse_output(text)
    except ValueError as error:
        return [Fault("", str(error))]
    return faults(schema, value)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    given = json.loads(schema)
    counting = schema_steps.validator_class(dialects.of(given) or dialects.DEFAULT)
    return counting(dialects.unnamed(given), registry=_registry())


def _registry() -> Registry[Any]:
    """Return a registry of the published dialects that cannot fetch anything else."""
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    registry: Registry[Any] = REGISTRY
    return registry


def _listed(errors: Iterable[ValidationError]) -> list[Fault]:
    places = [Fault(_pointer(error.absolute_path), _short(error.message)) for error in islice(errors, MAX_FAULTS)]
    return sorted(dict.fromkeys(places), key=lambda fault: fault.path)


def _pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _short(message: str) -> str:
    """Shorten a message in the middle: its end states the fault, its beginning quotes the value."""
    if len(message) <= _MAX_MESSAGE:
        return message
    return f"{message[: _MAX_MESSAGE // 2]} … {message[-_MAX_MESSAGE // 2 :]}"


def _unusable(schema: Schema, dialect: str) -> Iterator[Fault]:
    """Yield unresolvable references, and unusable patterns, of a schema that is otherwise valid."""
    root: Resource[Any] = dialects.specification(dialect).create_resource(schema)
    resolver = _registry().resolver_with_root(root)
    # The specification's walk over subschemas yields no paths, so a fault quotes the text at fault.
    pending = [(root, resolver)]
    while pending:
        resource, at = pending.pop()
        if isinstance(resource.contents, Mapping):
            yield from _references(resource.contents, at)
            yield from _patterns(resource.contents)
        pending += [(child, at.in_subresource(child)) for child in resource.subresources()]


def _references(schema: Mapping[str, Any], resolver: Any) -> Iterator[Fault]:
    from referencing.exceptions import Unresolvable

    for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
        if keyword in schema:
            try:
                resolver.lookup(schema[keyword])
            except Unresolvable:
                yield Fault("", f"{keyword} {schema[keyword]!r} is not in the schema, and nothing is fetched")


def _patterns(schema: Mapping[str, Any]) -> Iterator[Fault]:
    properties = schema.get("patternProperties", {})
    for pattern in [*([schema["pattern"]] if "pattern" in schema else []), *properties]:
        try:
            re.compile(pattern)
        except re.error as error:
            yield Fault("", f"pattern {pattern!r} is not a regular expression: {error}")
            continue
        if len(pattern) > _MAX_PATTERN:
            yield Fault("", f"pattern {pattern[:60]!r}… is longer than {_MAX_PATTERN} characters")
        elif _explodes(parser.parse(pattern)):
            message = "repeats a repetition (or a choice), which may take forever; write it without"
            yield Fault("", f"pattern {pattern!r} {message}")


def _explodes(tree: Any, *, repeated: bool = False) -> bool:
    """Return whether a text can be split among repetitions in exponentially many ways, all of which `re` would try.

    Works on the parse tree of `re` itself, because a pattern can be spelled in too many ways.
    """
    for kind, argument in tree:
        match str(kind):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = argument
                if (repeated and least != most) or _explodes(inner, repeated=repeated or most > _FEW):
                    return True
            case "BRANCH":
                if repeated and not _differ(argument[1]):
                    return True
                if any(_explodes(one, repeated=repeated) for one in argument[1]):
                    return True
            case "GROUPREF" | "GROUPREF_EXISTS" | "GROUPREF_IGNORE":
                if repeated:
                    return True
            case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
                if _explodes(argument[-1], repeated=repeated):
                    return True
            case "ATOMIC_GROUP":
                if _explodes(argument, repeated=repeated):
                    return True
    return False


def _differ(branches: Any) -> bool:
    """Return whether all branches begin with different characters, so that at most one of them fits."""
    first = [one[0] if len(one) else (None, None) for one in branches]
    return all(str(kind) == "LITERAL" for kind, _ in first) and len({argument for _, argument in first}) == len(first)


def _depth(value: Any) -> int:
    """Return the nesting depth of a JSON value."""
    level, depth = [value], 0
    while level := [child for item in level for child in _children(item)]:
        depth += 1
    return depth


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _no_constant(name: str) -> Any:
    raise ValueError(f"is not JSON: {name} is not a JSON number")
