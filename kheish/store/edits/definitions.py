"""Reading of files that users write (YAML, Markdown with front matter, JSON) into models, with all errors at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from kheish.errors import Fault, InvalidDefinition
from kheish.store.edits import crossing, problems as words, surrogates, yaml12, yaml_writing
from kheish.store.edits.problems import Problem, Severity
from kheish.store.edits.yaml12 import Flaw, Keys, ListNode, MapNode, Mark, Node, ScalarNode

M = TypeVar("M", bound=BaseModel)

#: errors that a number or truth value can cause if the model wants text
_WANTS_TEXT = frozenset({"string_type", "string_sub_type", "literal_error", "enum"})


@dataclass(frozen=True, slots=True)
class Parsed(Generic[M]):
    """The result of reading a file. `value` is None if `problems` has an error. Then `draft` is the value without the
    invalid keys, if that is valid. `digest` is the sha256 of the bytes, in hex."""

    path: str
    value: M | None
    data: dict[str, Any] | None
    problems: list[Problem]
    digest: str
    tree: Node | None = field(default=None, repr=False, compare=False)
    draft: M | None = field(default=None, repr=False, compare=False)

    def at(
        self, keys: Keys, message: str, *, code: str = "bad_value", severity: Severity = "error",
        suggestion: str | None = None, key: bool = False,
    ) -> Problem:  # fmt: skip
        """Return a problem that only the caller can detect (a dangling reference), placed at `keys` (with `key`: at the
        key)."""
        mark = words.locate(self.tree, keys, key=key)
        return Problem(self.path, *words.place(mark), severity, code, message, suggestion, words.pointer(keys))

    def require(self) -> M:
        """Return the value. Raises InvalidDefinition with a fault for each error; lines and columns are in
        `extra["problems"]`."""
        errors = [problem for problem in self.problems if problem.severity == "error"]
        if self.value is not None and not errors:
            return self.value
        raise refusal(self.path, errors)


def refusal(path: str, errors: list[Problem]) -> InvalidDefinition:
    """Return the error that describes an invalid definition to a caller."""
    first = errors[0]
    place = f"{path}:{first.line}:{first.column}" if first.line else path + first.pointer
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidDefinition(
        f"{place}: {first.message}{more}",
        errors=[Fault(problem.pointer, problem.message) for problem in errors],
        problems=[words.view(problem) for problem in errors],
    )


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def parse(model: type[M], raw: bytes, path: str) -> Parsed[M]:
    """Parse one YAML document. An empty file is an empty mapping, which is valid if the model requires nothing."""
    text, flaw = yaml12.decode(raw)
    if flaw:
        return _broken(path, raw, [flaw])
    tree, flaws = yaml12.read(text)
    if tree is None and flaws:
        return _broken(path, raw, flaws)
    return _check(model, raw, path, tree, flaws)


def parse_markdown(model: type[M], raw: bytes, path: str, *, body: str = "body") -> Parsed[M]:
    """Parse YAML front matter between `---` lines; the text below becomes the field `body` of the model."""
    text, flaw = yaml12.decode(raw)
    if flaw:
        return _broken(path, raw, [flaw])
    lines = text.replace("\r\n", "\n").split("\n")
    end, flaws = 0, list[Flaw]()
    tree: Node | None = None
    if lines[0].rstrip() == "---":
        end = next((at for at, line in enumerate(lines) if at and line.rstrip() in ("---", "...")), 0)
        if not end:
            missing = Flaw("syntax", "the front matter that opens here is never closed by a line '---'", Mark(1, 1))
            return _broken(path, raw, [missing])
        tree, flaws = yaml12.read("\n".join(lines[1:end]) + "\n", first_line=2)
        if tree is None and flaws:
            return _broken(path, raw, flaws)
        end += 1
    tree = MapNode(Mark(1, 1)) if tree is None or _is_empty(tree) else tree
    if isinstance(tree, MapNode):
        if body in tree.items:
            message = f"unknown key {body!r}; write the text below the front matter"
            flaws.append(Flaw("unknown_key", message, tree.key_marks[body], (body,)))
        _put_body(tree, body, lines, end)
    return _check(model, raw, path, tree, flaws)


def parse_json(model: type[M], raw: bytes, path: str) -> Parsed[M]:
    """Parse a JSON body. Its problems have a `pointer`; a line and column only for a syntax error."""
    text, flaw = yaml12.decode(raw)
    if flaw:
        return _broken(path, raw, [flaw])
    flaws: list[Flaw] = []
    try:
        value = json.loads(text, object_pairs_hook=_Pairs, parse_constant=_refuse_constant, parse_float=finite)
        tree = _tree(value, (), flaws)
    except json.JSONDecodeError as error:
        return _broken(path, raw, [Flaw("syntax", error.msg, Mark(error.lineno, error.colno))])
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        message = f"nested deeper than {yaml12.MAX_DEPTH} levels" if deep else str(error)
        return _broken(path, raw, [*flaws, Flaw("syntax", message, None)])
    return _check(model, raw, path, tree, flaws)


def dump_yaml(data: Mapping[str, Any]) -> bytes:
    """Return readable YAML that `parse` reads back the same."""
    return yaml_writing.dump(data)


def dump_markdown(data: Mapping[str, Any], *, body: str = "body") -> bytes:
    """Return front matter and text that `parse_markdown` reads back the same (the text without blank lines around
    it)."""
    front = {key: value for key, value in data.items() if key != body}
    text = str(data.get(body) or "").strip("\n")
    head = yaml_writing.dump(front) if front else b""
    return b"---\n" + head + b"---\n" + (text + "\n" if text else "").encode()


# --- from tree to model -------------------------------------------------------------------------------------


def _broken(path: str, raw: bytes, flaws: list[Flaw]) -> Parsed[Any]:
    return Parsed(path, None, None, words.from_flaws(path, flaws), digest(raw))


def _is_empty(tree: Node) -> bool:
    return isinstance(tree, ScalarNode) and tree.value is None


def _numbers(data: Any) -> Iterator[int | float]:
    """Yield the numbers in plain data, however deep (the depth of a Definition is bounded)."""
    if isinstance(data, int | float):
        yield data
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _numbers(item)


def _is_beyond(number: float) -> bool:
    return not math.isfinite(number) if isinstance(number, float) else not -(1 << 63) <= number < 1 << 64


def _check(model: type[M], raw: bytes, path: str, tree: Node | None, flaws: list[Flaw]) -> Parsed[M]:
    empty = tree is None or _is_empty(tree)
    tree = MapNode(Mark(1, 1)) if tree is None or empty else tree
    found = words.from_flaws(path, flaws)
    if not isinstance(tree, MapNode):
        kind = "a list" if isinstance(tree, ListNode) else "text"
        mark = tree.mark or Mark(1, 1)
        found += words.from_flaws(path, [Flaw("wrong_type", f"the file must hold a mapping, not {kind}", mark)])
        return Parsed(path, None, None, found, digest(raw), tree)
    value, data, error = _validate(model, tree)
    if any(_is_beyond(one) for one in _numbers(data)):
        message = "not a finite number of 64 bits, which no response and no journal can hold; write it as text"
        found += words.from_flaws(path, [Flaw("wrong_type", message, None)])
    if error is not None:
        problems = words.explain(error, model, tree, path)
        if empty:
            needs = ", ".join(str(item["loc"][-1]) for item in error.errors() if item["type"] == "missing")
            problems = [Problem(path, 1, 1, "error", "empty", f"the file is empty; it needs: {needs or 'content'}")]
        found += problems
        found += _unchecked(model, data, tree, path, error, found)
    found.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    draft = _draft(model, data, error) if error is not None else value if found else None
    return Parsed(path, None if found else value, data, found, digest(raw), tree, draft)


def _unchecked(
    model: type[M], data: dict[str, Any], tree: MapNode, path: str, error: ValidationError, known: list[Problem]
) -> list[Problem]:
    """Return the problems of checks over several fields, which did not run because some fields are invalid. One about a
    key that is only misspelled follows from that."""
    details = error.errors(include_url=False, include_input=False)[: yaml12.MAX_FLAWS]
    wrong = [words.missing_or_place(tree, detail) for detail in details]
    causes = crossing.causes(model, data, wrong)
    problems = [one for keys, cause in causes for one in words.of_cause(cause, keys, tree, path)]
    said, meant = {one.message for one in known}, {one.suggestion for one in known if one.suggestion is not None}
    return [
        one for one in dict.fromkeys(problems) if one.message not in said and not crossing.mentions(one.message, meant)
    ]


def _draft(model: type[M], data: dict[str, Any], error: ValidationError) -> M | None:
    """Return the model without the invalid keys, so that its other errors can be reported at once."""
    wrong = {detail["loc"][0] for detail in error.errors(include_url=False, include_input=False) if detail["loc"]}
    try:
        rest = json.dumps({key: value for key, value in data.items() if key not in wrong})
        return model.model_validate_json(rest, strict=True)
    except ValidationError:
        return None


def _validate(model: type[M], tree: MapNode) -> tuple[M | None, dict[str, Any], ValidationError | None]:
    """Validate strictly, by JSON's rules (no `yes` for true, no "5" for 5, but text for a date or an enum).

    Where the model wants text, and the file has a plain `1.10` or `true`, the text as typed is used. Only the model
    decides that, so it validates repeatedly. Each round settles at least one place, and a union may need a few.
    """
    texts: frozenset[Keys] = frozenset()
    while True:
        data = yaml12.plain(tree, texts)
        try:
            return model.model_validate_json(json.dumps(data), strict=True), data, None
        except ValidationError as error:
            more = texts | _typed_places(tree, error)
            if more == texts:
                return None, data, error
            texts = more


def _typed_places(tree: MapNode, error: ValidationError) -> set[Keys]:
    places = set[Keys]()
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        if detail["type"] in _WANTS_TEXT:
            keys = words.keys_of(tree, detail)
            node = yaml12.walk(tree, keys)
            if isinstance(node, ScalarNode) and node.typed and node.value is not None:
                places.add(keys)
    return places


def _put_body(tree: MapNode, name: str, lines: list[str], start: int) -> None:
    rest = lines[start:]
    first = next((at for at, line in enumerate(rest) if line.strip()), 0)
    text = "\n".join(rest).strip("\n")
    mark = Mark(min(start + first + 1, len(lines)), 1)
    tree.items[name], tree.key_marks[name] = ScalarNode(text, text, False, mark), mark


# --- JSON ---------------------------------------------------------------------------------------------------


class _Pairs(list[tuple[str, Any]]):
    """The members of an object as written, including repeated names."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    """Return a number of JSON. Raises ValueError for a number that JSON cannot represent once it is parsed."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} does not fit into 64 bits")
    return value


def _tree(value: Any, keys: Keys, flaws: list[Flaw]) -> Node:
    if len(keys) > yaml12.MAX_DEPTH:
        raise RecursionError
    if isinstance(value, _Pairs):
        made = MapNode(None)
        for key, item in value:
            if surrogates.is_in(key):
                raise ValueError(f"a key in {words.pointer(keys) or 'the document'} contains half of a surrogate pair")
            if key in made.items:
                flaws.append(Flaw("duplicate_key", f"duplicate key {key!r}", None, (*keys, key)))
                if len(flaws) >= yaml12.MAX_FLAWS:
                    raise ValueError(f"there are more than {yaml12.MAX_FLAWS} errors; fix these first")
                continue
            made.items[key], made.key_marks[key] = _tree(item, (*keys, key), flaws), None
        return made
    if isinstance(value, list):
        return ListNode(None, [_tree(item, (*keys, at), flaws) for at, item in enumerate(value)])
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and surrogates.is_in(value):
        raise ValueError(f"{words.pointer(keys)} contains half of a surrogate pair")
    return ScalarNode(text, value, False, None)
