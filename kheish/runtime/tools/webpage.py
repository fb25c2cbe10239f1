"""Conversion of a web page's bytes to text. It runs in a confined child process: a page may be made to take forever."""

from __future__ import annotations

#: parts of a page without content for a reader
_SILENT = ["script", "style", "noscript", "template", "svg", "iframe", "head"]


def read(body: bytes, charset: str, is_html: bool, offset: int, limit: int) -> tuple[str, int]:
    """Return a part of the text of a page, and the length of the whole."""
    text = markdown(body, charset) if is_html else decode(body, charset)
    return text[offset : offset + limit], len(text)


def decode(body: bytes, charset: str) -> str:
    """Return the text; an unknown charset counts as UTF-8."""
    try:
        return body.decode(charset or "utf-8", "replace")
    except (LookupError, UnicodeError):  # some codecs do not support "replace"
        return body.decode("utf-8", "replace")


def markdown(body: bytes, charset: str) -> str:
    """Return an HTML page as Markdown, with its title first."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    try:
        page = BeautifulSoup(body, "html.parser", from_encoding=charset or None)
        title = page.title.get_text(" ", strip=True) if page.title else ""
        for silent in page(_SILENT):
            silent.decompose()
        text = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(page)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
    return "\n".join([*([f"# {title}", ""] if title and not text.lstrip().startswith("# ") else []), *kept]).strip()
