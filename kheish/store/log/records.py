"""Records: YAML files for human readers, made from plain data. Keys stay in the given order.

The writer is our own: it is three times as fast as libyaml's dumper (a busy daemon renders a thousand a second). Event
times stay unquoted. Text that YAML 1.1 *or* 1.2 would not read as text is quoted as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kheish.errors import Fault, Invalid
from kheish.store.git.textconv import HIDDEN

if TYPE_CHECKING:
    from kheish.store.edits import yaml12

#: text that needs no quotes: it begins with a letter (or a path), and has no ": ", " #" or character that needs quotes
_PLAIN = re.compile(
    r"(?:[A-Za-z_]|\.{0,2}/[A-Za-z_])(?:[A-Za-z0-9_./@()+=;$~^<>?!%&*|'\"{}\[\],-]|:(?=\S)| (?=[^ #\n]))*\Z"
)
#: event times stay unquoted: they are text in YAML 1.2
_STAMP = re.compile(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9](?:\.[0-9]+)?Z\Z")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
#: characters that a literal block cannot hold
_NOT_LITERAL = re.compile(
    HIDDEN.pattern + "|[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def render(data: Mapping[str, Any]) -> bytes:
    """Return plain data (str, int, float, bool, None, lists, mappings) as block-style YAML, UTF-8."""
    if not data:
        return b"{}\n"
    return ("\n".join(_mapping(data, "")) + "\n").encode()


def pending_file(data: Mapping[str, Any], blank: str) -> bytes:
    """Return a file of `pending/`: the daemon's fields, and the lines that a user fills in."""
    return render(data) + blank.encode()


def read(raw: bytes) -> dict[str, Any]:
    """Return the mapping in a YAML 1.2 file. Raises Invalid; its `errors` give line and column."""
    from kheish.store.edits import yaml12  # here, since the git worker writes Records and hardly ever reads any

    text, flaw = yaml12.decode(raw)
    node, flaws = yaml12.read(text) if flaw is None else (None, [flaw])
    if flaws:
        faults = [Fault(_place(one), one.message) for one in flaws]
        raise Invalid(f"Not readable: {faults[0].path}: {faults[0].message}", errors=faults)
    data = yaml12.plain(node) if node is not None else {}
    if not isinstance(data, dict):
        raise Invalid("Not readable: a mapping (key: value) was expected.")
    return data


def _place(flaw: yaml12.Flaw) -> str:
    return f"line {flaw.mark.line}, column {flaw.mark.column}" if flaw.mark else "the file"


def _mapping(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{indent}{scalar(str(key))}:", value, indent)


def _sequence(items: Sequence[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, Mapping) and item:
            lines = _mapping(item, indent + "  ")
            yield f"{indent}- {next(lines)[len(indent) + 2 :]}"
            yield from lines
        else:
            yield from _entry(f"{indent}-", item, indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    """Yield the lines of a `key:` or `-` with its value, on the same line if that is readable."""
    if isinstance(value, str):
        if "\n" in value and value[0] not in " \t\n" and not _NOT_LITERAL.search(value):
            yield from _literal(head, value, indent + "  ")
        else:
            yield f"{head} {scalar(value)}"
    elif isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, indent + "  ")
    elif isinstance(value, list | tuple) and value:
        yield head
        yield from _sequence(value, indent + "  ")
    else:
        yield f"{head} {_other(value)}"


def _literal(head: str, text: str, indent: str) -> Iterator[str]:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    yield head + (" |-", " |", " |+")[min(ends, 2)]
    for line in body.split("\n"):
        yield indent + line if line else ""
    yield from [""] * (ends - 1)


def scalar(text: str) -> str:
    """Return a text as YAML, quoted if necessary."""
    if (_PLAIN.match(text) and text.lower() not in _WORDS) or _STAMP.match(text):
        return text
    return _NOT_LITERAL.sub(_escape, json.dumps(text, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    """Return the text with lone surrogates replaced by the replacement character: YAML has no surrogate pairs, and half
    of a pair is no character."""
    code = ord(match[0])
    if 0xD800 <= code < 0xE000:
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _other(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case Mapping():
            return "{}"
        case list() | tuple():
            return "[]"
    raise TypeError(f"a record cannot contain a {type(value).__name__}")


def _float(value: float) -> str:
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    return text if "." in text or "e" not in text else text.replace("e", ".0e")
