"""HTML as text, by the parser of the standard library: links keep their targets, scripts and styles are left out.

The parser begins again at each unclosed tag or comment, so that a broken page takes the square of its size. It is
therefore stopped after a while, and the text before that is kept.
"""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

from kheish.jobs.converting import text
from kheish.jobs.converting.limits import PAGE_SECONDS

_HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "object", "iframe"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "main", "nav", "ol", "p",
    "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul",
})  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"""charset=["']?([A-Za-z0-9_-]{1,40})""")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n\s*\n+")


class _Overdue(Exception):
    """The error that a page takes too long."""


class _Reader(HTMLParser):
    """Collects the visible text. Raises _Overdue once the process has computed for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(convert_charrefs=True)
        self._seconds = seconds
        self.parts: list[str] = []
        self._hidden = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        self._check_time()
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _HEADINGS:
            self.parts.append(f"\n\n{'#' * _HEADINGS[tag]} ")
        elif tag in _BLOCKS:
            self.parts.append("\n\n" if tag in ("p", "table", "ul", "ol", "pre") else "\n")
        elif tag == "br":
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")
        elif tag == "img" and (alt := dict(attrs).get("alt")):
            self.parts.append(f"[image: {alt}]")

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        self._check_time()
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "a" and self._links:
            target = self._links.pop()
            if target.startswith(("http://", "https://", "mailto:")):
                self.parts.append(f" ({target})")
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Take text, unless it is not shown."""
        self._check_time()
        if not self._hidden:
            self.parts.append(data)

    def handle_comment(self, data: str) -> None:
        """Leave a comment out."""
        self._check_time()

    def _check_time(self) -> None:
        if time.process_time() > self._seconds:
            raise _Overdue


def convert(raw: bytes, encoding: str | None = None) -> tuple[str, str | None]:
    """Return the text of a page, and what is missing."""
    named = _CHARSET.search(raw[:2048])
    return of_text(text.loose(raw.removeprefix(b"\xef\xbb\xbf"), encoding or (named[1].decode() if named else None)))


def of_text(page: str, seconds: float = PAGE_SECONDS) -> tuple[str, str | None]:
    """Return the text of a page that is decoded, and what is missing. All pages of a process share the time."""
    reader, why = _Reader(seconds), None
    try:
        reader.feed(page)
        reader.close()
    except _Overdue:
        why = f"The page was read for {seconds:g} s of processor time, and the rest is left out."
    spaced = _SPACES.sub(" ", "".join(reader.parts))
    return _LINES.sub("\n\n", "\n".join(line.strip() for line in spaced.split("\n"))).strip(), why
