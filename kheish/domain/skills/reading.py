"""The reader of `SKILL.md`, which warns and loads: only a skill without a description is refused.

Skills come from many authors, who write for lenient readers. A strict reader would refuse some official ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from typing import Any

from kheish.domain.skills import repair
from kheish.domain.skills.skill import (
    BODY_BYTES,
    BODY_TOKENS,
    DESCRIPTION_CHARACTERS,
    Skill,
    is_name,
)
from kheish.store.edits import definitions as reading, yaml12
from kheish.store.edits.definitions import Parsed
from kheish.store.edits.problems import Problem, Severity
from kheish.store.edits.yaml12 import ListNode, MapNode, Mark, Node, ScalarNode
from kheish.store.escaping import plain

_FRONT_BYTES = 64 * 1024
_TRUE, _FALSE = frozenset({"true", "yes", "on", "y", "1"}), frozenset({"false", "no", "off", "n", "0"})
_DATA_DEPTH = 16
_HIDDEN = "control or invisible characters"
#: characters per token, for the length of a text
_CHARACTERS = 4


def parse(raw: bytes, path: str) -> Parsed[Skill]:
    """Parse a skill. `value` is None if it has no description; everything else is a warning. It may take long: call it
    in a thread."""
    return _Reader(raw, path).read()


class _Reader:
    """The reading of one file, with its problems."""

    def __init__(self, raw: bytes, path: str) -> None:
        self.raw, self.path = raw, path
        self.problems: list[Problem] = []
        self.tree = MapNode(Mark(1, 1))

    def read(self) -> Parsed[Skill]:
        lines = self._text().split("\n")
        front, start = self._front(lines)
        if front is not None:
            self.tree = self._front_matter(front)
        fields = self._fields()
        fields["body"] = self._body("\n".join(lines[start:]).strip("\n"))
        self._check(fields)
        value = Skill.model_validate(fields) if fields.get("description") else None
        self.problems.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
        data = value.model_dump(mode="json", by_alias=True, exclude_unset=True) if value is not None else None
        return Parsed(self.path, value, data, self.problems, reading.digest(self.raw), self.tree)

    # --- the text -------------------------------------------------------------------------------------------------

    def _text(self) -> str:
        raw = self.raw[: _FRONT_BYTES + 2 * BODY_BYTES]
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = raw.decode("utf-8-sig", "replace")
            if error.reason != "unexpected end of data" or len(raw) == len(self.raw):
                line = raw.count(b"\n", 0, error.start) + 1
                self._warn("not_utf8", "is not UTF-8; the bytes that are not were replaced", Mark(line, 1))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if (cleaned := plain(text)) != text:
            self._warn("control_character", f"has {_HIDDEN}, which were removed", Mark(1, 1))
        return cleaned

    def _front(self, lines: list[str]) -> tuple[list[str] | None, int]:
        """Return the lines of the front matter, and the first line of the text."""
        begin = next((at for at, line in enumerate(lines) if line.strip()), 0)
        if lines[begin].rstrip() != "---":
            return None, 0
        end = next((at for at in range(begin + 1, len(lines)) if lines[at].rstrip() in ("---", "...")), None)
        if end is None:
            self._warn("syntax", "the front matter that opens here is never closed by a line '---'", Mark(begin + 1, 1))
            end = next((at for at in range(begin + 1, len(lines)) if not lines[at].strip()), len(lines))
        self.first = begin + 2
        front = lines[begin + 1 : end]
        if sum(map(len, front)) > _FRONT_BYTES:
            self._warn("too_large", f"the front matter is longer than {_FRONT_BYTES // 1024} KiB", Mark(begin + 1, 1))
            return [], end + 1
        return front, end + 1

    def _front_matter(self, front: list[str]) -> MapNode:
        tree, flaws = yaml12.read("\n".join(front) + "\n", first_line=self.first)
        if isinstance(tree, MapNode):
            for flaw in flaws:
                self._warn(flaw.code, flaw.message, flaw.mark)
            return tree
        if not any(line.strip() for line in front):
            return MapNode(Mark(self.first, 1))
        why = (
            flaws[0] if flaws else yaml12.Flaw("wrong_type", "the front matter must be a mapping", Mark(self.first, 1))
        )
        mended, _ = yaml12.read("\n".join(repair.quoted(front)) + "\n", first_line=self.first)
        is_mended = isinstance(mended, MapNode)
        how = (
            "values with a colon were read as if quoted; quote them" if is_mended else "the lines were read one by one"
        )
        self._warn("repaired", f"the front matter is not valid YAML ({why.message}): {how}", why.mark)
        return mended if isinstance(mended, MapNode) else repair.by_lines(front, self.first)

    def _body(self, body: str) -> str:
        size = len(body.encode())
        if size > BODY_BYTES or len(self.raw) > _FRONT_BYTES + 2 * BODY_BYTES:
            self._warn("too_large", f"the text is longer than {BODY_BYTES // 1024} KiB; the rest is not read", None)
            return body.encode()[:BODY_BYTES].decode("utf-8", "ignore")
        if len(body) // _CHARACTERS > BODY_TOKENS:
            message = f"the text has more than {BODY_TOKENS} tokens; move parts of it into files that it names"
            self._warn("body_long", message, None)
        if not body.strip():
            self._warn("empty", "there is no text below the front matter", None)
        return body

    # --- the fields -----------------------------------------------------------------------------------------------

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, node in self.tree.items.items():
            field = key.strip().lower().replace("-", "_")
            read = _READERS.get(field) or _READERS.get(_SPELLINGS.get(field, ""))
            name = field if field in _READERS else _SPELLINGS.get(field, field)
            if field == "hooks":
                self._warn("hooks_ignored", "hooks of a skill do not run; put them into hooks/", self._mark(key))
            elif field == "body":
                self._warn("unknown_key", "write the text below the front matter", self._mark(key))
            elif read is None:
                self._unknown(key, node, fields)
            elif (value := read(node)) is not None:
                if name not in fields:
                    fields[name] = self._cleaned(key, value)
            elif not _is_null(node):
                self._warn("bad_value", f"{key} has a value that cannot be read; it is ignored", self._mark(key))
        return fields

    def _cleaned(self, key: str, value: Any) -> Any:
        """Return a value without the characters that an escape of YAML brought in."""
        cleaned = plain(value) if isinstance(value, str) else value
        if isinstance(value, list):
            cleaned = [plain(one) for one in value]
        if cleaned != value:
            self._warn("control_character", f"{key} has {_HIDDEN}, which were removed", self._mark(key))
        return cleaned

    def _unknown(self, key: str, node: Node, fields: dict[str, Any]) -> None:
        near = difflib.get_close_matches(key.lower(), [name.replace("_", "-") for name in _READERS], n=1, cutoff=0.85)
        if near:
            self._warn("unknown_key", f"unknown key {key!r}; did you mean {near[0]!r}?", self._mark(key), near[0])
        if key not in Skill.model_fields:
            fields[key] = _data(node)

    def _check(self, fields: dict[str, Any]) -> None:
        folder = self.path.rpartition("/")[0].rpartition("/")[2]
        name = fields.get("name")
        if not fields.get("description"):
            message = "there is no description; without one, the skill is not loaded"
            self._add("missing", message, self._mark("description"), "error")
        elif len(fields["description"]) > DESCRIPTION_CHARACTERS:
            message = f"the description is longer than {DESCRIPTION_CHARACTERS} characters"
            self._warn("too_long", message, self._mark("description"))
        if name is None:
            self._warn("missing", f"there is no name; the folder's name is used ({folder})", None)
        elif name != folder and folder:
            self._warn(
                "bad_name", f"the name {name!r} differs from the folder's, {folder!r}", self._mark("name"), folder
            )
        elif not is_name(name):
            self._warn("bad_name", f"the name {name!r} is not of a-z, 0-9 and -, at most 64", self._mark("name"))
        if fields.get("model") and fields.get("context") != "fork":
            self._warn("no_effect", "model has an effect with `context: fork` only", self._mark("model"))

    def _mark(self, key: str) -> Mark | None:
        return self.tree.key_marks.get(key)

    def _warn(self, code: str, message: str, mark: Mark | None, suggestion: str | None = None) -> None:
        self._add(code, message, mark, "warning", suggestion)

    def _add(self, code: str, message: str, mark: Mark | None, severity: Severity, near: str | None = None) -> None:
        line, column = (mark.line, mark.column) if mark is not None else (None, None)
        self.problems.append(Problem(self.path, line, column, severity, code, message, near))


# --- values -----------------------------------------------------------------------------------------------------------


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value in (None, "")


def _text(node: Node) -> str | None:
    """Return a text as typed, whatever YAML would make of it."""
    return node.text.strip() or None if isinstance(node, ScalarNode) and not _is_null(node) else None


def _hint(node: Node) -> str | None:
    """Return a hint as typed: `[message]`, the usual form, is a list of YAML, and `{message}` a mapping."""
    match node:
        case ListNode(items=items):
            return f"[{', '.join(filter(None, map(_hint, items)))}]"
        case MapNode(items=items):
            words = ((key, _hint(item)) for key, item in items.items())
            return "{" + ", ".join(key if word is None else f"{key}: {word}" for key, word in words) + "}"
    return _text(node)


def _truth(node: Node) -> bool | None:
    text = (_text(node) or "").lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _fork(node: Node) -> str | None:
    return "fork" if (_text(node) or "").lower() == "fork" else None


def _mapping(node: Node) -> dict[str, Any] | None:
    value = _data(node)
    return value if isinstance(value, dict) else None


def _words(node: Node) -> list[str] | None:
    """Return names: a list, or a text with spaces or commas; of a mapping in the list, its `name`."""
    if isinstance(node, ListNode):
        named = [item.items.get("name", item) if isinstance(item, MapNode) else item for item in node.items]
        return [text for item in named if (text := _text(item)) is not None]
    text = _text(node)
    return None if text is None else [word for word in re.split(r"[\s,]+", text) if word]


def _calls(node: Node) -> list[str] | None:
    """Return calls of tools: a list, or a text with spaces or commas outside of parentheses."""
    return _split(node, " \t\n,")


def _globs(node: Node) -> list[str] | None:
    return _split(node, "\n,")


def _split(node: Node, separators: str) -> list[str] | None:
    texts = [_text(item) for item in node.items] if isinstance(node, ListNode) else [_text(node)]
    given = [text for text in texts if text is not None]
    apart = "," if isinstance(node, ListNode) else separators
    return [part for text in given for part in split(text, apart)] if given or isinstance(node, ListNode) else None


def split(text: str, separators: str) -> Iterator[str]:
    """Yield the parts of a text between separators, except those in brackets."""
    depth, part = 0, ""
    for character in text:
        depth += (character in "([{") - (character in ")]}" and depth > 0)
        if depth == 0 and character in separators:
            if part.strip():
                yield part.strip()
            part = ""
        else:
            part += character
    if part.strip():
        yield part.strip()


def _data(node: Node, depth: int = 0) -> Any:
    """Return plain data, with texts as typed where JSON has no such number."""
    match node:
        case ScalarNode(value=float() as value) if value != value or abs(value) == float("inf"):
            return node.text
        case ScalarNode(value=int() as value) if abs(value) >= 1 << 63:
            return node.text
        case ScalarNode():
            return node.value
        case _ if depth > _DATA_DEPTH:
            return None
        case ListNode():
            return [_data(item, depth + 1) for item in node.items]
        case MapNode():
            return {key: _data(item, depth + 1) for key, item in node.items.items()}


_READERS: dict[str, Callable[[Node], Any]] = {
    "name": _text, "description": _text, "when_to_use": _text, "license": _text, "compatibility": _text,
    "metadata": _mapping, "allowed_tools": _calls, "disallowed_tools": _calls, "arguments": _words,
    "argument_hint": _hint, "disable_model_invocation": _truth, "user_invocable": _truth, "model": _text,
    "context": _fork, "paths": _globs,
}  # fmt: skip
#: other spellings in public skills
_SPELLINGS = {
    "allowedtools": "allowed_tools", "disallowedtools": "disallowed_tools", "whentouse": "when_to_use",
    "argumenthint": "argument_hint", "disablemodelinvocation": "disable_model_invocation",
    "userinvocable": "user_invocable", "user_invokable": "user_invocable", "licence": "license",
    "globs": "paths",
}  # fmt: skip
