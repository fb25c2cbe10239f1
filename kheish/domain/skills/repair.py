"""Repair of front matter that is not valid YAML, but clear to a reader: `description: Use when: the user asks`.

Public skills are written for lenient readers. A value with an unquoted colon is quoted; if that does not help, the
lines `key: value` are read one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from kheish.store.edits.yaml12 import MapNode, Mark, ScalarNode

_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,63}):(?:[ \t]+(.*))?\Z")
#: beginnings of values that are no plain text: quotes, blocks, lists, mappings, anchors
_SPECIAL = tuple("\"'|>[{&*!#")


def quoted(lines: list[str]) -> list[str]:
    """Return the lines with each plain value quoted; their number is unchanged, so that marks stay right."""
    made: list[str] = []
    at = 0
    while at < len(lines):
        match = _KEY.match(lines[at].rstrip())
        value = match[2].strip() if match and match[2] else ""
        if match is None or not value or value.startswith(_SPECIAL):
            made.append(lines[at])
            at += 1
            continue
        end = at + 1
        while end < len(lines) and _continues(lines[end]):
            value += f" {lines[end].strip()}"
            end += 1
        made.append(
            f"{match[1]}: {json.dumps(value, ensure_ascii=False) if ': ' in value or _is_odd(value) else value}"
        )
        made += [""] * (end - at - 1)
        at = end
    return made


def _continues(line: str) -> bool:
    """Return whether a line continues the plain text above it."""
    return line.startswith((" ", "\t")) and bool(line.strip()) and not line.lstrip().startswith(("- ", "#"))


def _is_odd(value: str) -> bool:
    """Return whether a plain text would mean something else, or nothing, in YAML."""
    return value.endswith(":") or " #" in value or value[0] in "%@`-?," or "\t" in value


def by_lines(lines: list[str], first_line: int) -> MapNode:
    """Return the lines `key: value` as texts, whatever stands between them; lists and mappings are lost."""
    tree = MapNode(Mark(first_line, 1))
    for number, key, value in _pairs(lines):
        if key not in tree.items:
            mark = Mark(first_line + number, 1)
            tree.items[key], tree.key_marks[key] = ScalarNode(value, value, False, mark), mark
    return tree


def _pairs(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines):
        match = _KEY.match(line.rstrip())
        if match is None:
            continue
        value = (match[2] or "").strip()
        if value in ("", "|", ">", "|-", ">-", "|+", ">+"):
            block: list[str] = []
            for more in lines[number + 1 :]:
                if more.strip() and not more.startswith((" ", "\t")):
                    break
                block.append(more.strip())
            value = " ".join(filter(None, block))
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if value:
            yield number, match[1], value
