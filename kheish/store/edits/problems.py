"""The errors of a file that users write: a Problem for each place, in plain words, from pydantic's errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from kheish.errors.base import MOST_ABOUT
from kheish.store.edits.yaml12 import MAX_FLAWS, Flaw, Keys, ListNode, MapNode, Mark, Node, ScalarNode, walk
from kheish.texts import cut_middle

Severity = Literal["error", "warning"]

_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "empty",
}
#: limits of pydantic's models, by kind of error, with its context
_LIMITS = {
    "string_too_long": "has more than {max_length} characters",
    "string_too_short": "has less than {min_length} characters",
    "too_long": "has more than {max_length} items",
    "too_short": "has less than {min_length} items",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} at least",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} at most",
    "string_pattern_mismatch": "does not match {pattern}",
}
_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_QUOTED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in a file.

    `path` is relative to the state root. `line` and `column` count from 1, and are None if the text has none (JSON).
    `pointer` is the JSON pointer into the document.
    """

    path: str
    line: int | None
    column: int | None
    severity: Severity
    code: str
    message: str
    suggestion: str | None = None
    pointer: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", cut_middle(self.message, MOST_ABOUT))
        object.__setattr__(self, "pointer", cut_middle(self.pointer, MOST_ABOUT))

    @property
    def problem_id(self) -> str:
        """An id that stays the same for the same mistake in the same place of the document, even if lines above it
        change."""
        return _id("\0".join((self.path, self.pointer, self.code, self.message)))


@lru_cache(maxsize=8192)
def _id(text: str) -> str:
    return "prob_" + hashlib.sha256(text.encode()).hexdigest()[:20]


def view(problem: Problem) -> dict[str, Any]:
    """Return a problem as users' tools get it, without `since`, which only the daemon has."""
    return {
        "problem_id": problem.problem_id,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity,
        "code": problem.code,
        "message": problem.message,
        "suggestion": problem.suggestion,
    }


@dataclass(frozen=True, slots=True)
class Finding:
    """A validator's error at `keys`, counted from the model that it validates."""

    keys: Keys
    message: str
    code: str = "bad_value"
    suggestion: str | None = None


class Rejected(ValueError):
    """The error that a model's own validator raises to place each of several errors exactly."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings


def pointer(keys: Sequence[str | int]) -> str:
    """Return a JSON pointer (RFC 6901)."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def limit(kind: str, context: Mapping[str, Any]) -> str | None:
    """Return the words for a pydantic error about a limit; None for another kind of error."""
    if context.get("min_length") == 1:
        return "is empty"
    words = _LIMITS.get(kind)
    return None if words is None else words.format_map(context)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word of `words` that `word` was most likely meant to be, or None."""
    from rapidfuzz import fuzz, process

    def fold(text: str) -> str:
        return text.lower().replace("-", "_")

    match = process.extractOne(word, list(words), scorer=fuzz.ratio, processor=fold, score_cutoff=70)
    return match[0] if match else None


def locate(root: Node | None, keys: Keys, *, key: bool = False) -> Mark | None:
    """Return the place of the value at `keys` (of its key with `key`); if it is missing, the nearest existing
    parent's."""
    if root is None:
        return Mark(1, 1)
    while walk(root, keys) is None:
        keys, key = keys[:-1], False
    parent = walk(root, keys[:-1]) if keys else None
    node = walk(root, keys)
    empty = isinstance(node, ScalarNode) and node.value is None and not node.text
    if isinstance(parent, MapNode) and (key or empty):
        return parent.key_marks[str(keys[-1])]
    return node.mark if node else None


def from_flaws(path: str, flaws: Iterable[Flaw]) -> list[Problem]:
    """Return the problems of a malformed document."""
    return [
        Problem(path, *place(flaw.mark), "error", flaw.code, flaw.message, pointer=pointer(flaw.keys)) for flaw in flaws
    ]


def place(mark: Mark | None) -> tuple[int | None, int | None]:
    return (mark.line, mark.column) if mark else (None, None)


def explain(error: ValidationError, model: type[BaseModel], root: Node, path: str) -> list[Problem]:
    """Return a Problem for each mistake, in the order of the file. For a union only the best matching member counts."""
    details = error.errors(include_url=False, include_input=False)
    slips = [_slip(root, detail) for detail in details[:MAX_FLAWS]]
    problems = [_problem(finding, root, path) for slip in _settle(slips, root) for finding in _words(slip, model, root)]
    if len(details) > MAX_FLAWS:
        more = f"there are {len(details) - MAX_FLAWS} more errors; fix these first"
        problems.append(_problem(Finding((), more, "too_large"), root, path))
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line or 0, problem.column or 0))


def of_cause(cause: Exception, keys: Keys, root: Node, path: str) -> list[Problem]:
    """Return the problems of an error that a model's own check raised for the object at `keys`."""
    if isinstance(cause, Rejected):
        findings = [Finding((*keys, *one.keys), one.message, one.code, one.suggestion) for one in cause.findings]
    else:
        findings = [Finding(keys, str(cause))]
    return [_problem(finding, root, path) for finding in findings]


def missing_or_place(root: Node, detail: Any) -> Keys:
    """Return the place of a pydantic error, with the key that is missing there."""
    slip = _slip(root, detail)
    return slip.keys if slip.missing is None else (*slip.keys, slip.missing)


def _problem(finding: Finding, root: Node, path: str) -> Problem:
    mark = locate(root, finding.keys, key=finding.code == "unknown_key")
    where = pointer(finding.keys)
    return Problem(path, *place(mark), "error", finding.code, finding.message, finding.suggestion, where)


# --- places: pydantic's `loc` mixes keys with labels of union members ---------------------------------------


@dataclass(frozen=True, slots=True)
class _Slip:
    """A pydantic error: `keys` into the document, and the labels of union members along the way (depth, text)."""

    kind: str
    keys: Keys
    labels: tuple[tuple[int, str], ...]
    missing: str | None = None
    of_key: bool = False
    text: str = ""
    context: dict[str, Any] = field(default_factory=dict)


def keys_of(root: Node, detail: Any) -> Keys:
    """Return the place of a pydantic error in the document."""
    return _slip(root, detail).keys


def _slip(root: Node, detail: Any) -> _Slip:
    loc, kind = tuple(detail["loc"]), detail["type"]
    missing = str(loc[-1]) if kind in ("missing", "missing_argument") and loc else None
    of_key = bool(loc) and loc[-1] == "[key]"
    if missing is not None or of_key:
        loc = loc[:-1]
    walks = list(_walks(root, loc, (), ()))
    if missing is not None:
        walks = [(keys, labels) for keys, labels in walks if _lacks(walk(root, keys), missing)] or walks
    # the fewest labels; and a label stands before the key in its member, unless it is the whole rest
    keys, labels = min(walks, key=lambda found: (len(found[1]), any(at == len(found[0]) for at, _ in found[1])))
    return _Slip(kind, keys, labels, missing, of_key, detail["msg"], detail.get("ctx", {}))


def _lacks(node: Node | None, key: str) -> bool:
    return isinstance(node, MapNode) and key not in node.items


def _walks(
    node: Node, loc: tuple[Any, ...], keys: Keys, labels: tuple[tuple[int, str], ...]
) -> Iterator[tuple[Keys, tuple[tuple[int, str], ...]]]:
    if not loc:
        yield keys, labels
        return
    head, rest = loc[0], loc[1:]
    child = walk(node, (head if isinstance(node, ListNode) else str(head),))
    if child is not None:
        yield from _walks(child, rest, (*keys, head if isinstance(node, ListNode) else str(head)), labels)
    yield from _walks(node, rest, keys, (*labels, (len(keys), str(head))))


# --- unions: one mistake, not an error for each member --------------------------------------------------------


def _settle(slips: Sequence[_Slip], root: Node) -> list[_Slip]:
    """Return the errors of the best matching member of each union; if no member matches, merge their errors."""
    settled = [slip for slip in slips if not slip.labels]
    unions: dict[Keys, dict[str, list[_Slip]]] = {}
    for slip in slips:
        if slip.labels:
            depth, label = slip.labels[0]
            inner = _Slip(slip.kind, slip.keys, slip.labels[1:], slip.missing, slip.of_key, slip.text, slip.context)
            unions.setdefault(slip.keys[:depth], {}).setdefault(label, []).append(inner)
    for keys, members in unions.items():
        fitting = [found for found in members.values() if not any(_misfit(slip, keys) for slip in found)]
        if fitting:
            settled += _settle(min(fitting, key=_distance), root)
        else:
            settled.append(_merge(keys, [slip for found in members.values() for slip in found]))
    return settled


def _misfit(slip: _Slip, keys: Keys) -> bool:
    """Return whether the member is of another kind than the value."""
    return slip.keys == keys and slip.missing is None and slip.kind in _EXPECTED


def _merge(keys: Keys, slips: Sequence[_Slip]) -> _Slip:
    words = [_EXPECTED[slip.kind] for slip in slips if slip.keys == keys and slip.kind in _EXPECTED]
    return _Slip("union", keys, (), text=" or ".join(dict.fromkeys(words)))


def _distance(slips: Sequence[_Slip]) -> tuple[int, float]:
    """Return the distance of the value from a member: the number of errors, then how much its unknown and missing keys
    differ."""
    from rapidfuzz import fuzz

    missing = [slip.missing for slip in slips if slip.missing]
    unknown = [str(slip.keys[-1]) for slip in slips if slip.kind == "extra_forbidden"]
    return len(slips), -max((fuzz.ratio(a, b) for a in missing for b in unknown), default=0.0)


# --- words --------------------------------------------------------------------------------------------------


def _words(slip: _Slip, model: type[BaseModel], root: Node) -> list[Finding]:
    node, keys = walk(root, slip.keys), slip.keys
    if slip.missing is not None:
        return [Finding((*keys, slip.missing), f"missing key {slip.missing!r}", "missing_key")]
    if slip.kind == "extra_forbidden":
        return [_unknown(keys, known_keys(model, keys[:-1]))]
    if slip.kind == "union":
        return [Finding(keys, f"must be {slip.text}, not {_describe(node)}", "wrong_type")]
    if slip.kind in _EXPECTED:
        hint = _TRUTH.get(node.text.lower()) if slip.kind == "bool_type" and isinstance(node, ScalarNode) else None
        return [
            Finding(keys, f"must be {_EXPECTED[slip.kind]}, not {_describe(node)}{_mean(hint)}", "wrong_type", hint)
        ]
    if slip.kind in ("literal_error", "enum"):
        return [_choice(keys, node, str(slip.context.get("expected", "")))]
    if slip.kind in ("union_tag_invalid", "union_tag_not_found"):
        return [_tag(slip, node)]
    cause = slip.context.get("error")
    if isinstance(cause, Rejected):
        return [Finding((*keys, *at.keys), at.message, at.code, at.suggestion) for at in cause.findings]
    if isinstance(cause, Exception):
        return [Finding(keys, str(cause))]
    if (words := limit(slip.kind, slip.context)) is not None:
        return [Finding(keys, f"{'a key of it ' if slip.of_key else ''}{words}")]
    text = slip.text.removeprefix("Input should ").removeprefix("Value should ")
    return [Finding(keys, f"{'key ' if slip.of_key else ''}should {text}" if text != slip.text else text)]


def _unknown(keys: Keys, known: Sequence[str]) -> Finding:
    near = nearest(str(keys[-1]), known)
    rest = f"; did you mean {near!r}?" if near else f"; known here: {', '.join(sorted(known))}" if known else ""
    return Finding(keys, f"unknown key {keys[-1]!r}{rest}", "unknown_key", near)


def _choice(keys: Keys, node: Node | None, expected: str) -> Finding:
    typed = node.text if isinstance(node, ScalarNode) else ""
    near = nearest(typed, _QUOTED.findall(expected)) if typed else None
    return Finding(keys, f"must be {expected}, not {_describe(node)}{_mean(near)}", "bad_value", near)


def _tag(slip: _Slip, node: Node | None) -> Finding:
    name = str(slip.context.get("discriminator", "")).strip("'")
    if not isinstance(node, MapNode):
        return Finding(slip.keys, f"must be a mapping, not {_describe(node)}", "wrong_type")
    if name not in node.items:
        return Finding((*slip.keys, name), f"missing key {name!r}", "missing_key")
    return _choice((*slip.keys, name), node.items[name], str(slip.context.get("expected_tags", "another")))


def _mean(near: str | None) -> str:
    return f"; did you mean {near!r}?" if near else ""


def _describe(node: Node | None) -> str:
    match node:
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
        case ScalarNode(value=None):
            return "empty"
        case ScalarNode(value=str()):
            return f"the text {cut_middle(node.text, 60)!r}"
        case ScalarNode():
            return cut_middle(node.text, 60)
        case None:
            return "this"


# --- known keys -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def known_keys(model: type[BaseModel], keys: Keys) -> list[str]:
    """Return the keys that the model has in the mapping at `keys`, over all members of a union."""
    schema = _schema(model)
    here = list(_members(schema, schema))
    for key in keys:
        here = [member for at in here for child in _children(at, key) for member in _members(child, schema)]
    return list(dict.fromkeys(name for at in here for name in at.get("properties", {})))


def _members(schema: Any, root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield from _members(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], root)
    for part in ("anyOf", "oneOf", "allOf"):
        for member in schema.get(part, ()):
            yield from _members(member, root)
    yield schema


def _children(schema: dict[str, Any], key: str | int) -> list[Any]:
    if isinstance(key, int):
        return [schema.get("items"), *schema.get("prefixItems", [])[key : key + 1]]
    properties = schema.get("properties", {})
    return [properties[key]] if key in properties else [schema.get("additionalProperties")]
