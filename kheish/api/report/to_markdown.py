"""A report as Markdown. All external text is escaped: a title is text, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from kheish.api.report.blocks import Block, Cell, Code, Commit, Commits, Diagram, Heading, Items, Node, Paragraph, Table
from kheish.store.git.textconv import visible

#: characters with a meaning anywhere in a line, and those with a meaning at its beginning only
_SPECIAL = re.compile(r"[\\`*\[\]|~$<>]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_FIRST = re.compile(r"(?:[#+-]|[0-9]+(?=[.)]))")
_BACKTICKS = re.compile(r"`+")


def render(blocks: Iterable[Block]) -> str:
    """Return the page."""
    return "\n\n".join("\n".join(_block(block)) for block in blocks) + "\n"


def escape(text: str) -> str:
    """Return text without markup, on one line."""
    plain = _SPECIAL.sub(r"\\\g<0>", " ".join(visible(text).split()).replace("&", "&amp;"))
    plain = plain.replace("\\<", "&lt;").replace("://", "&#58;//")
    begins = _FIRST.match(plain)
    if begins is None:
        return plain
    at = begins.end() if plain[0].isdigit() else 0
    return f"{plain[:at]}\\{plain[at:]}"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level=level, text=text):
            yield f"{'#' * level} {escape(text)}"
        case Paragraph(text=text):
            yield "  \n".join(escape(line) for line in text.splitlines())
        case Items(lines=lines):
            yield from (f"- {escape(line)}" for line in lines)
        case Table(head=head, rows=rows):
            yield from _table(head, rows)
        case Code(text=text):
            fence = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(text)), default=0))
            yield from (f"{fence}text", visible(text).rstrip("\n"), fence)
        case Commits(rows=rows):
            for id, time, message in rows:
                yield f'- <a id="c-{id[:12]}"></a>`{id}` {escape(time)} {escape(message)}'
        case Diagram(nodes=nodes):
            yield from ("```mermaid", "flowchart TD", *_mermaid(nodes), "```")


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    yield f"| {' | '.join(escape(one) for one in head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Commit):
        return f"[`{cell.id[:12]}`](#c-{cell.id[:12]})"
    return "<br>".join(escape(line) for line in cell.splitlines())


def _mermaid(nodes: Sequence[Node]) -> Iterator[str]:
    """Yield a mermaid diagram.

    It uses generated names, and labels as quoted text with entities: no text of a Playbook is parsed as mermaid.
    """
    names = {node.id: f"p{number}" for number, node in enumerate(nodes)}
    for node in nodes:
        label = "".join(char if char.isalnum() or char in " .-_:" else f"#{ord(char)};" for char in node.label)
        yield f'  {names[node.id]}["{label}"]'
    for node in nodes:
        yield from (f"  {names[need]} --> {names[node.id]}" for need in node.needs if need in names)
