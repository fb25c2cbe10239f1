"""The content of a report, independent of its format: blocks of plain text, which each writer escapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the page's."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text of one or more lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in a cell, linked to the report's list of commits."""

    id: str


Cell = str | Commit


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Items:
    """A list of lines."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Code:
    """Text as it is: a diff, an output."""

    text: str


@dataclass(frozen=True, slots=True)
class Commits:
    """The commits that cells link to: id, time, first line of the message."""

    rows: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Node:
    """A phase in the diagram."""

    id: str
    label: str
    status: str
    needs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Diagram:
    """The phases and their dependencies."""

    nodes: Sequence[Node]


Block = Heading | Paragraph | Table | Items | Code | Commits | Diagram
