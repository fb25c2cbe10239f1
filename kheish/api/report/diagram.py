"""The phases of a Flow as an SVG picture: a row for each depth of `needs`, an arrow from each to its dependents."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from kheish.api.report.blocks import Node

WIDE, HIGH, GAP, DROP, EDGE = 220, 52, 28, 44, 12
_COLOURS = {
    "satisfied": "#2a7d46",
    "running": "#2563a8",
    "waiting": "#96610a",
    "blocked": "#96610a",
    "failed": "#b3261e",
    "skipped": "#777777",
    "pending": "#777777",
}


def svg(nodes: Sequence[Node]) -> str:
    """Return the picture, for embedding in a page."""
    places = _places(nodes)
    across = max((column for column, _ in places.values()), default=0) + 1
    down = max((row for _, row in places.values()), default=0) + 1
    width, height = across * (WIDE + GAP) - GAP + 2 * EDGE, down * (HIGH + DROP) - DROP + 2 * EDGE
    arrows = [_arrow(places[need], places[node.id]) for node in nodes for need in node.needs if need in places]
    boxes = [_box(node, *places[node.id]) for node in nodes]
    label = escape(", ".join(f"{node.id} {node.status}" for node in nodes))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="Phases: {label}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="#888"/></marker></defs>{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def picture(nodes: Sequence[Node]) -> str:
    """Return the picture as a document of its own, readable on light and on dark."""
    style = (
        "<style>svg{color:#1b1f26;font:13px system-ui,sans-serif}text{fill:currentColor}"
        "@media(prefers-color-scheme:dark){svg{color:#e6e9ee}text[style],rect{filter:brightness(1.9)}}</style>"
    )
    head, rest = svg(nodes).split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _places(nodes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """Return column and row of each phase: a row below all of its dependencies."""
    known = {node.id: node for node in nodes}
    rows: dict[str, int] = {}
    for _ in nodes:  # a published Playbook has no cycle; this ends the loop in any case
        for node in nodes:
            rows[node.id] = max((rows.get(need, 0) + 1 for need in node.needs if need in known), default=0)
    places: dict[str, tuple[int, int]] = {}
    columns: dict[int, int] = {}
    for node in nodes:
        row = rows[node.id]
        places[node.id] = (columns.get(row, 0), row)
        columns[row] = columns.get(row, 0) + 1
    return places


def _corner(column: int, row: int) -> tuple[int, int]:
    return EDGE + column * (WIDE + GAP), EDGE + row * (HIGH + DROP)


def _box(node: Node, column: int, row: int) -> str:
    x, y = _corner(column, row)
    colour = _COLOURS.get(node.status, "#777777")
    label = node.id if len(node.id) <= 26 else f"{node.id[:25]}…"
    return (
        f'<g><title>{escape(node.label)}</title><rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="8" '
        f'fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{x + 12}" y="{y + 22}" font-weight="600">{escape(label)}</text>'
        f'<text x="{x + 12}" y="{y + 41}" style="fill:{colour}">{escape(node.status)}</text></g>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    from_x, from_y = _corner(*start)
    to_x, to_y = _corner(*end)
    x1, y1, x2, y2 = from_x + WIDE // 2, from_y + HIGH, to_x + WIDE // 2, to_y
    middle = (y1 + y2) // 2
    return (
        f'<path d="M{x1} {y1} C{x1} {middle} {x2} {middle} {x2} {y2 - 2}" fill="none" stroke="#888" '
        'stroke-width="1.5" marker-end="url(#tip)"/>'
    )
