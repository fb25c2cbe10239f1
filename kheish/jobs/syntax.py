"""Checks of a node in a bash syntax tree, which refuse text that bash might read differently."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kheish.jobs.commandline import SimpleCommand, Word

if TYPE_CHECKING:
    from tree_sitter import Node

_MAX_LENGTH = 32 * 1024
_MAX_DEPTH = 100

#: commands that run text as code in this shell, or change the meaning of later names
_EVALUATE = {
    "eval", "source", ".", "alias", "trap", "let", "coproc", "enable", "complete", "compgen", "bind", "hash", "fc",
    "shopt", "mapfile", "readarray",
}  # fmt: skip
#: commands that evaluate the subscript of a variable given by name
_TAKE_NAMES = frozenset(
    ["printf", "test", "read", "unset", "declare", "typeset", "local", "export", "readonly", "wait", "getopts"]
)
SUBSCRIPT = re.compile(r"[A-Za-z_]\w*\[")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_CONTINUATION_IN_WORD = re.compile(r"(?<![ \t])\\\n(?![ \t])")
_LIVE = re.compile(r"`|\$[({]|[<>]\(")
_ANSI_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|[0-7]{1,3}|.)", re.DOTALL)
_ANSI = dict(zip("nt\\'\"?rabfve", "\n\t\\'\"?\r\a\b\f\v\x1b", strict=True))


class Unreadable(Exception):
    """The error that ends the reading; its text gives the reason."""


def check(command: str) -> None:
    """Refuse text that readers interpret differently, before any of it is parsed."""
    if len(command) > _MAX_LENGTH:
        raise Unreadable(f"longer than {_MAX_LENGTH} characters")
    if _CONTROL.search(command):
        raise Unreadable("a control character")
    if _CONTINUATION_IN_WORD.search(command):
        raise Unreadable("a line continuation inside a word")
    if any(0xD800 <= ord(char) <= 0xDFFF for char in command):
        raise Unreadable("text that is not UTF-8")


def sound(node: Node, depth: int) -> None:
    """Refuse a node that contains a syntax error or lies too deep."""
    if depth > _MAX_DEPTH:
        raise Unreadable("nested too deeply")
    if node.is_missing or node.type == "ERROR":
        raise Unreadable(f"a syntax error at: {short(node)}")
    if any(child.type == "ERROR" or child.is_missing for child in node.children):
        raise Unreadable(f"a syntax error in: {short(node)}")


def gaps_are_blank(node: Node) -> None:
    """Refuse anything between the parts that the parser named."""
    for gap in between(node, node.children):
        if gap.replace("\\\n", "").strip(" \t\n"):
            raise Unreadable(f"something unnamed in: {short(node)}")


def refuse_line_breaks(node: Node) -> None:
    """Raise Unreadable if a line break stands between the parts of a command or of a redirection.

    bash ends the command there; after some words (`=~`) the parser continues.
    """
    for gap in between(node, node.children):
        if "\n" in gap.replace("\\\n", ""):
            raise Unreadable(f"a line break inside a command: {short(node)}")


def words_are_apart(node: Node) -> None:
    """Raise Unreadable if a word begins directly at the end of a redirection, an assignment or a word.

    bash continues the word there: the parser's next word belongs to the one before.
    """
    before: Node | None = None
    for child in node.children:
        if before is not None and before.end_byte == child.start_byte and not child.type.endswith("_redirect"):
            raise Unreadable(f"words that run into each other: {short(node)}")
        before = child


def between(node: Node, children: list[Node]) -> Iterator[str]:
    """Yield the text of a node outside of these children: before, between and after them."""
    source, at = node.text or b"", 0
    for child in children:
        yield source[at : child.start_byte - node.start_byte].decode(errors="replace")
        at = max(at, child.end_byte - node.start_byte)
    yield source[at:].decode(errors="replace")


def inert(text: str, node: Node) -> None:
    """Refuse text that the parser considers plain but bash would expand."""
    if has_live(text):
        raise Unreadable(f"an expansion that the parser did not see: {short(node)}")


def has_braces(text: str) -> bool:
    """Return whether unquoted text may hold a brace expansion."""
    _, brace, rest = text.partition("{")
    return bool(brace) and ("," in rest or ".." in rest)


def text_of(node: Node) -> str:
    """Return the source of a node."""
    return (node.text or b"").decode(errors="replace")


def short(node: Node) -> str:
    """Return the source of a node, shortened for a message."""
    text = text_of(node)
    return text if len(text) <= 60 else text[:60] + "…"


def has_live(text: str) -> bool:
    """Return whether the text contains, unescaped, the beginning of a substitution."""
    return _LIVE.search(re.sub(r"\\.", "", text, flags=re.DOTALL)) is not None


def ansi(text: str) -> Word:
    """Return the word of `$'…'`. Complex escapes, and NUL (which cuts the word), are left to bash."""
    unknown = False

    def escape(match: re.Match[str]) -> str:
        nonlocal unknown
        code = match[1]
        if code in _ANSI:
            return _ANSI[code]
        hexadecimal = code[0] in "xu" and len(code) > 1
        number = int(code[1:], 16) if hexadecimal else int(code, 8) if code[0] in "01234567" else 0
        unknown = unknown or not 0 < number < 128
        return chr(number)

    plain = _ANSI_ESCAPE.sub(escape, text[2:-1])
    return Word(text, dynamic=True) if unknown else Word(plain)


def refuse_evaluation(simple: SimpleCommand) -> None:
    """Refuse a command that treats its words as code, and a command whose name is not plain."""
    if not simple.words:
        return
    name = simple.words[0]
    if name.text in _EVALUATE and not name.dynamic:
        raise Unreadable(f"`{name.text}` runs text as code or changes what names mean")
    if name.text in _TAKE_NAMES and any(SUBSCRIPT.search(word.text) for word in simple.words[1:]):
        raise Unreadable(f"`{name.text}` may evaluate a subscript: {simple.text[:60]}")
    if re.search(r"\s", name.text) and not name.dynamic:
        raise Unreadable(f"a blank in a command's name: {name.text[:60]!r}")
    if name.glob and not name.dynamic:
        raise Unreadable(f"a command's name that is a pattern: {name.text[:60]!r}")
