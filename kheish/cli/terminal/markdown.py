"""Markdown on a terminal: an answer is split into blocks as it comes, and each complete block is rendered.

The text of models never becomes a control sequence: it is made visible first (`output.plain`). HTML, images and links
stay as they were written.
"""

from __future__ import annotations

import io
import re
from functools import cache
from typing import TYPE_CHECKING

from kheish.cli.output import plain
from kheish.cli.terminal.wrapping import wrap

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from rich.markdown import Markdown

#: characters of a block; longer ones are shown as they are, since parsing and colouring takes long
_MARKED = 30_000
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TRAILING = re.compile(r"[ \t]+((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


class Blocks:
    """An answer that is being written: `feed` returns the blocks that are complete, `rest` is the unfinished one."""

    def __init__(self) -> None:
        self.rest = ""

    def feed(self, text: str) -> list[str]:
        """Return the blocks that the text completes.

        A block ends at a blank line that a line without indent follows. A fenced block has no end within.
        """
        begins_line = self.rest.endswith("\n")
        self.rest += text
        complete: list[str] = []
        if "\n" not in text and not begins_line:
            return complete
        while (end := _end_of_block(self.rest)) is not None:
            complete.append(self.rest[:end])
            self.rest = self.rest[end:]
        return complete

    def flush(self) -> str:
        """Return the unfinished block, and begin another."""
        rest, self.rest = self.rest, ""
        return rest


def _end_of_block(text: str) -> int | None:
    """Return the offset at which the second block begins; None if the first one may continue."""
    fence, blank, offset = "", False, 0
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n") and not line.strip():
            return None  # the next line may be indented
        if blank and line.strip() and not fence and not line.startswith((" ", "\t")):
            return offset
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and fence and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = ""
        blank = not line.strip() and bool(text[:offset].strip())
        offset += len(line)
    return None


def render(text: str, width: int) -> str:
    """Return Markdown as lines of at most `width` columns, with styles, and a line break at the end."""
    if not text.strip():
        return ""
    if len(text) > _MARKED:
        return "".join(part + "\n" for line in plain(text).strip("\n").split("\n") for part in wrap(line, width))
    from rich.console import Console
    from rich.theme import Theme

    markdown = _document()("", code_theme="ansi_dark", hyperlinks=False)
    markdown.parsed = _parser().parse(plain(text))
    target = io.StringIO()
    console = Console(
        file=target, width=max(width, 10), force_terminal=True, color_system="standard", highlight=False,
        markup=False, emoji=False, legacy_windows=False, _environ={}, theme=Theme({"markdown.code": "cyan"}),
    )  # fmt: skip
    console.print(markdown)
    return _TRAILING.sub(r"\1", target.getvalue()).strip("\n") + "\n"


@cache
def _document() -> type[Markdown]:
    """Return the class of documents, with headings at the left."""
    from rich import markdown

    class Heading(markdown.Heading):
        LEVEL_ALIGN = dict.fromkeys(markdown.Heading.LEVEL_ALIGN, "left")

    class Document(markdown.Markdown):
        elements = {**markdown.Markdown.elements, "heading_open": Heading}

    return Document


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    return parser.disable(["html_block", "html_inline", "image", "autolink"])
