"""YAML 1.2 core: a parser from bytes to a tree with the line and column of each node. `yaml_writing` is the inverse.

The tree is built from parser events, not by PyYAML's constructors. Those follow YAML 1.1 (`on` is a truth value,
`12:30` a number in base 60), drop duplicate keys silently, and expand aliases without a bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from kheish.store.edits import surrogates

#: bounds of a document with its aliases expanded; far above any Definition, far below harmful sizes
MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 50_000
MAX_DEPTH = 64
#: mistakes reported for a document; each costs far more than a correct value
MAX_FLAWS = 100

FlawCode = Literal[
    "syntax",
    "duplicate_key",
    "unknown_key",
    "tag_not_allowed",
    "too_many_aliases",
    "too_large",
    "not_utf8",
    "wrong_type",
    "merge_key",
]
Value = str | int | float | bool | None
Keys = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?[0-9]{1,1000}\Z|0o[0-7]{1,1000}\Z|0x[0-9a-fA-F]{1,1000}\Z")
FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"
    r"|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: libyaml's messages in plain words
_PLAIN_WORDS = {
    "mapping values are not allowed in this context": "a ':' cannot stand here; quote the text, or indent it right",
    "could not find expected ':'": "a ':' is missing after a key (or the line before is not finished)",
    "did not find expected key": "a key was expected here; is the indentation the same as above?",
    "block sequence entries are not allowed in this context": "a '- ' cannot stand here; begin the list on a new line",
    "found invalid Unicode character escape code": "half of a surrogate pair is not a character; write the character",
    "found character that cannot start any token": "this character cannot begin a text; quote it",
}
_NEVER_CLOSED = "a quote or bracket that opens here is never closed"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """An error in the document itself, whatever it should contain. `keys` lead to its place."""

    code: FlawCode
    message: str
    mark: Mark | None
    keys: Keys = ()


@dataclass(slots=True)
class ScalarNode:
    """A scalar. `text` is the text as typed; `typed` is true if the value was made from a plain scalar."""

    text: str
    value: Value
    typed: bool
    mark: Mark | None


@dataclass(slots=True)
class ListNode:
    mark: Mark | None
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class MapNode:
    mark: Mark | None
    items: dict[str, Node] = field(default_factory=dict)
    key_marks: dict[str, Mark | None] = field(default_factory=dict)


Node = ScalarNode | ListNode | MapNode


def resolve(text: str) -> Value:
    """Return the value of a plain scalar by the YAML 1.2 core schema; anything else is text."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if INT.match(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if FLOAT.match(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1].isalpha() else text)
    return text


def plain(node: Node, texts: frozenset[Keys] = frozenset(), keys: Keys = ()) -> Any:
    """Return the tree as plain data. At the places in `texts` a typed scalar stays text as typed."""
    match node:
        case ScalarNode():
            return node.text if node.typed and keys in texts else node.value
        case ListNode():
            return [plain(item, texts, (*keys, at)) for at, item in enumerate(node.items)]
        case MapNode():
            return {key: plain(item, texts, (*keys, key)) for key, item in node.items.items()}


def walk(node: Node, keys: Keys) -> Node | None:
    """Return the node that `keys` lead to."""
    for key in keys:
        match node:
            case MapNode() if key in node.items:
                node = node.items[str(key)]
            case ListNode() if isinstance(key, int) and key < len(node.items):
                node = node.items[key]
            case _:
                return None
    return node


# --- reading ---------------------------------------------------------------------------------------------------------


def decode(raw: bytes) -> tuple[str, Flaw | None]:
    """Return bytes as text, without a byte order mark. Return a flaw if they are too many, not UTF-8, or
    unprintable."""
    if len(raw) > MAX_BYTES:
        return "", Flaw("too_large", f"the file has {len(raw)} bytes; at most {MAX_BYTES} are read", Mark(1, 1))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = raw.rfind(b"\n", 0, error.start) + 1
        mark = Mark(raw.count(b"\n", 0, error.start) + 1, len(raw[start : error.start].decode("utf-8")) + 1)
        return "", Flaw("not_utf8", f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8", mark)
    match = _UNPRINTABLE.search(text)
    if match:
        start = text.rfind("\n", 0, match.start()) + 1
        mark = Mark(text.count("\n", 0, match.start()) + 1, match.start() - start + 1)
        return "", Flaw("syntax", f"the control character U+{ord(match[0]):04X} is not allowed", mark)
    return text, None


def read(text: str, *, first_line: int = 1) -> tuple[Node | None, list[Flaw]]:
    """Build the tree of a document. The node is None if the document is empty, or has a fatal flaw."""
    builder = _Builder(first_line - 1)
    text, builder.sentinel = surrogates.hide(text)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except _Stop as stop:
        return None, [*builder.flaws, stop.flaw]
    except yaml.YAMLError as error:
        return None, [*builder.flaws, _syntax(error, text, builder.unclosed(), first_line - 1)]
    return builder.root, builder.flaws


def _syntax(error: yaml.YAMLError, text: str, unclosed: Mark | None, lines: int) -> Flaw:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Flaw("syntax", str(error), Mark(1 + lines, 1))
    reason, at = error.problem or "cannot be read", error.problem_mark
    context = error.context_mark
    if at is None or at.line >= len(text.rstrip().splitlines()):  # at the end: the place of its beginning matters
        if context is not None and "quoted" in (error.context or ""):
            return Flaw("syntax", _NEVER_CLOSED, Mark(context.line + 1 + lines, context.column + 1))
        if unclosed is not None:
            return Flaw("syntax", _NEVER_CLOSED, unclosed)
    if at is not None and context is not None and error.context and context.line != at.line:
        reason += f", {error.context} that begins at line {context.line + 1 + lines}"
    if at is None:
        return Flaw("syntax", reason, Mark(1 + lines, 1))
    reason = _PLAIN_WORDS.get(error.problem or "", reason)
    line = text.split("\n")[at.line] if at.line <= text.count("\n") else ""
    if "\t" in line[: at.column + 1] and not line[: at.column].strip():
        reason = "a tab cannot indent; use spaces"
    return Flaw("syntax", reason, Mark(at.line + 1 + lines, at.column + 1))


class _Stop(Exception):
    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: ListNode | MapNode
    flow: bool  # in brackets
    anchor: str | None
    nodes: int  # number and size of all nodes before this one
    size: int
    height: int = 0
    key: str | None = None
    key_mark: Mark | None = None
    has_key: bool = False


@dataclass(slots=True)
class _Anchor:
    node: Node | None  # None while open: an alias to it would contain itself
    nodes: int = 1
    size: int = 0
    height: int = 0


class _Builder:
    """A builder of nodes from parser events. It counts each alias as its full expansion, before anything is
    expanded."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.flaws: list[Flaw] = []
        self.root: Node | None = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Anchor] = {}
        self.documents = self.nodes = self.size = 0
        self.aliased = False
        self.sentinel: str | None = None

    def feed(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self.refuse_tag(event)
                self.scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.refuse_tag(event)
                self.open(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.close()
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise _Stop(Flaw("syntax", "a file must hold a single document", self.mark(event)))

    def mark(self, event: Any) -> Mark:
        return Mark(event.start_mark.line + 1 + self.lines, event.start_mark.column + 1)

    def unclosed(self) -> Mark | None:
        """Return the place of the innermost bracket that is still open."""
        return self.stack[-1].node.mark if self.stack and self.stack[-1].flow else None

    def keys(self) -> Keys:
        return tuple(
            str(frame.key) if isinstance(frame.node, MapNode) else len(frame.node.items) for frame in self.stack
        )

    def refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            message = f"tags are not allowed ({event.tag}); quote a text, write anything else plainly"
            self.tell(Flaw("tag_not_allowed", message, self.mark(event), self.keys()))

    def tell(self, flaw: Flaw) -> None:
        self.flaws.append(flaw)
        if len(self.flaws) >= MAX_FLAWS:
            raise _Stop(Flaw("too_large", f"there are more than {MAX_FLAWS} errors; fix these first", flaw.mark))

    def count(self, nodes: int, size: int, event: Any) -> None:
        self.nodes += nodes
        self.size += size
        if self.nodes <= MAX_NODES and self.size <= MAX_BYTES:
            return
        if self.aliased:
            raise _Stop(Flaw("too_many_aliases", "the file is too large with its aliases expanded", self.mark(event)))
        raise _Stop(Flaw("too_large", f"the file holds more than {MAX_NODES} values", self.mark(event)))

    def scalar(self, event: Any) -> None:
        typed, text = event.style not in ("'", '"', "|", ">"), event.value
        if self.sentinel is not None and self.sentinel in text:
            text = surrogates.meant(text, self.sentinel, is_quoted=event.style == '"')
        value = resolve(text) if typed else text
        self.count(1, len(text), event)
        node = ScalarNode(text, value, typed and not isinstance(value, str), self.mark(event))
        if typed and text == "<<" and self.stack and isinstance(self.stack[-1].node, MapNode):
            self.refuse_merge(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(node, size=len(text))
        self.add(node, 0)

    def refuse_merge(self, event: Any) -> None:
        """Report a merge key, which belongs to YAML 1.1. As a plain key it would be passed on wherever any key is
        allowed (`generation`)."""
        if not self.stack[-1].has_key:
            message = "'<<' merges nothing here (that is YAML 1.1): write its keys out, or quote a key of this name"
            self.tell(Flaw("merge_key", message, self.mark(event), self.keys()[:-1]))

    def open(self, event: Any) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(Flaw("syntax", f"nested deeper than {MAX_DEPTH} levels", self.mark(event)))
        kind = MapNode if isinstance(event, yaml.MappingStartEvent) else ListNode
        self.stack.append(_Open(kind(self.mark(event)), bool(event.flow_style), event.anchor, self.nodes, self.size))
        self.count(1, 0, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(None)

    def close(self) -> None:
        frame = self.stack.pop()
        height = frame.height + 1
        if frame.anchor is not None:
            self.anchors[frame.anchor] = _Anchor(frame.node, self.nodes - frame.nodes, self.size - frame.size, height)
        self.add(frame.node, height)

    def alias(self, event: Any) -> None:
        self.aliased = True
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            self.tell(Flaw("syntax", f"*{event.anchor} names no anchor above", self.mark(event), self.keys()))
            return self.add(ScalarNode("", None, False, self.mark(event)), 0)
        if anchor.node is None:
            raise _Stop(Flaw("too_many_aliases", f"*{event.anchor} contains itself", self.mark(event)))
        if len(self.stack) + anchor.height > MAX_DEPTH:
            raise _Stop(Flaw("too_many_aliases", f"nested deeper than {MAX_DEPTH} levels", self.mark(event)))
        self.count(anchor.nodes, anchor.size, event)
        return self.add(anchor.node, anchor.height)

    def add(self, node: Node, height: int) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.height = max(frame.height, height)
        if isinstance(frame.node, ListNode):
            frame.node.items.append(node)
        elif not frame.has_key:
            frame.has_key, frame.key_mark, frame.key = True, node.mark, self.key_of(node)
        else:
            self.put(frame.node, frame, node)
            frame.has_key, frame.key = False, None

    def key_of(self, node: Node) -> str | None:
        """Return a key as typed (`on`, `1.10`), whatever it would be as a value."""
        if isinstance(node, ScalarNode):
            return node.text
        self.tell(Flaw("wrong_type", "a key must be text", node.mark, self.keys()[:-1]))
        return None

    def put(self, parent: MapNode, frame: _Open, node: Node) -> None:
        key = frame.key
        if key is None:
            return
        if key not in parent.items:
            parent.items[key], parent.key_marks[key] = node, frame.key_mark
            return
        first = parent.key_marks[key]
        message = f"duplicate key {key!r}; it is on line {first.line if first else '?'} already"
        self.tell(Flaw("duplicate_key", message, frame.key_mark, self.keys()))
