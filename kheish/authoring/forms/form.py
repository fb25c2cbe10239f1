"""Files under `pending/`: the daemon's fields must be unchanged, and the user's values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from kheish.errors import KheishError
from kheish.state.noun import Noun
from kheish.state.state import State
from kheish.store.edits import problems as words, yaml12
from kheish.store.edits.problems import Problem, Severity
from kheish.store.edits.yaml12 import Keys, ListNode, MapNode, Mark, Node, ScalarNode
from kheish.store.log import records

#: the person and the channel of an answer in a file, whose author is unknown
BY = "file"
#: applies an answer to the thing with an id
Resolve = Callable[[State, str], object]


class Model(BaseModel):
    """The base of the models of files, from which `schemas/` are made."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingForm:
    """The file of a noun that users answer there.

    `model` has the fields of the file: those of the document, in this order (those of `optional` are absent if they are
    null), and `mine`, which a user fills in; `blank` returns their lines for a document. `fill` reads them. `late`
    returns the error for an answer that came too late.
    """

    noun: Noun
    model: type[Model]
    optional: frozenset[str] = frozenset()
    mine: tuple[str, ...]
    blank: Callable[[Mapping[str, Any]], str]
    fill: Callable[[Form, Mapping[str, Any]], Resolve | None]
    late: Callable[[Mapping[str, Any]], KheishError]

    @property
    def name(self) -> str:
        """The name of the noun."""
        return self.noun.name

    @property
    def asked(self) -> tuple[str, ...]:
        """The daemon's fields."""
        return tuple(name for name in self.model.model_fields if name not in self.mine)

    def fields(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the daemon's fields of a file."""
        return {key: document[key] for key in self.asked if key not in self.optional or document.get(key) is not None}

    def render(self, document: Mapping[str, Any]) -> bytes:
        """Return the file as the daemon writes it."""
        return records.pending_file(self.fields(document), self.blank(document))

    def is_untouched(self, raw: bytes, document: Mapping[str, Any]) -> bool:
        """Return whether the file is as the daemon wrote it, not filled in."""
        return raw == self.render({**document, "status": "pending"})

    def is_part(self, raw: bytes, document: Mapping[str, Any]) -> bool:
        """Return whether this is a proper part of the daemon's text: a prefix of it, possibly with zero bytes in it."""
        whole = self.render({**document, "status": "pending"})
        return (
            raw != whole
            and len(raw) <= len(whole)
            and all(actual in (0, asked) for actual, asked in zip(raw, whole, strict=False))
        )


@dataclass(slots=True)
class Form:
    """A parsed file: the answer in it (None: nothing yet, or ambiguous), and its problems."""

    path: str
    filled: Resolve | None
    problems: list[Problem]
    root: MapNode

    def at(
        self, keys: Keys, message: str, *, code: str = "bad_value", suggestion: str | None = None, key: bool = False,
        severity: Severity = "error",
    ) -> Problem:  # fmt: skip
        """Return a problem at a place in the file."""
        mark = words.locate(self.root, keys, key=key)
        return Problem(self.path, *words.place(mark), severity, code, message, suggestion, words.pointer(keys))


def read(kind: PendingForm, raw: bytes, path: str, document: Mapping[str, Any]) -> Form:
    """Read the pending file of a thing; `document` is how the API shows the thing."""
    text, flaw = yaml12.decode(raw)
    tree, flaws = yaml12.read(text) if flaw is None else (None, [flaw])
    problems = words.from_flaws(path, flaws)
    if not isinstance(tree, MapNode):
        if not problems:
            message = "not a mapping, as the daemon wrote it; remove the file, and the daemon writes it again"
            problems = [Problem(path, 1, 1, "error", "wrong_type", message)]
        return Form(path, None, problems, MapNode(Mark(1, 1)))
    form = Form(path, None, problems, tree)
    form.problems += _check_unchanged(form, kind, document)
    filled = kind.fill(form, document)
    if not any(problem.severity == "error" for problem in form.problems):
        form.filled = filled
    return form


def _check_unchanged(form: Form, kind: PendingForm, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem for each of the daemon's keys that was changed, and for each unknown key."""
    asked, mine = records.read(kind.render(document)), kind.mine
    for key in form.root.items:
        if key not in asked and key not in mine:
            near = words.nearest(key, mine)
            hint = f"; did you mean {near!r}?" if near else f"; only {' and '.join(mine)} are to be filled in"
            yield form.at((key,), f"unknown key {key!r}{hint}", code="unknown_key", suggestion=near, key=True)
    for key, value in asked.items():
        if key in mine:
            continue
        if key not in form.root.items:
            message = f"{key!r} was removed; only {' and '.join(mine)} may be changed: restore it"
            yield form.at((key,), message, code="changed_key")
        elif yaml12.plain(form.root.items[key]) != value:
            message = f"{key!r} was changed; only {' and '.join(mine)} may be changed: restore it"
            yield form.at((key,), message, code="changed_key", key=True)


def read_text(form: Form, key: str) -> str:
    """Return the typed text, or an empty text."""
    node = form.root.items.get(key)
    if isinstance(node, MapNode | ListNode):
        form.problems.append(form.at((key,), f"{key!r} must be text", code="wrong_type"))
        return ""
    return text_of(node)


def text_of(node: Node | None) -> str:
    """Return the text of a node, or an empty text."""
    is_text = isinstance(node, ScalarNode) and node.value is not None
    return node.text.strip() if is_text and isinstance(node, ScalarNode) else ""
