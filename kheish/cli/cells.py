"""Widths of text on a terminal: Chinese, Japanese and Korean characters and emoji take two columns each."""

from __future__ import annotations


def width_of(text: str) -> int:
    """Return the columns that a line takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # most output needs no tables of widths

    return cell_len(text)


def pad(text: str, width: int) -> str:
    """Return a line with blanks after it, up to `width` columns."""
    return text + " " * (width - width_of(text))


def clip(line: str, width: int) -> str:
    """Return the beginning of a line that has at most `width` columns, with `…` for the rest."""
    if width_of(line) <= width:
        return line
    fits, most = 0, len(line)
    while fits < most:
        middle = (fits + most + 1) // 2
        if width_of(line[:middle]) < width:
            fits = middle
        else:
            most = middle - 1
    return line[:fits] + "…"
