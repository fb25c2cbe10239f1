"""A picture of a terminal: the cells of a pseudo-terminal as a page, for the browser to take."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cli.screen import ENTER, Screen, screen
from tests.support.daemon import Daemon, bash, call

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COLUMNS, ROWS = 92, 34
#: the colours that terminals have names for
COLOURS = {
    "black": "#45475a", "red": "#f38ba8", "green": "#a6e3a1", "brown": "#f9e2af", "blue": "#89b4fa",
    "magenta": "#cba6f7", "cyan": "#94e2d5", "white": "#cdd6f4", "brightblack": "#7f849c",
}  # fmt: skip
STYLE = """
body { margin: 0; background: #1e1e2e; color: #cdd6f4; }
pre { margin: 0; padding: 18px 20px; font: 15px/1.35 "DejaVu Sans Mono", "Liberation Mono", monospace; }
"""
BEFORE = "def total(items):\n    result = 0\n    for item in items:\n        result += item.price\n    return result\n"
AFTER = "def total(items):\n    return sum(item.price for item in items)\n"
SAID = "The loop in `bill.py` can be a **sum**. I change it, and run the tests."
TURNS: list[dict[str, Any]] = [
    {"text": SAID, "tool_calls": [call("read_file", path="bill.py")]},
    {"tool_calls": [call("write_file", path="bill.py", content=AFTER)]},
    bash("python -m pytest -q tests && git commit -qam 'Sum the prices'"),
    {"text": "Done."},
]


def take(browser: Browser, file: Path) -> None:
    """Write a picture of a conversation that waits for a decision."""
    with tempfile.TemporaryDirectory() as folder:
        config = {"default_route": "main"}
        permissions = {"rules": [{"tool": "write_file", "match": "bill.py", "decision": "allow"}]}
        with Daemon.fresh(Path(folder), routes={"main": TURNS}, config=config, permissions=permissions) as daemon:
            (daemon.workspace / "bill.py").write_text(BEFORE)
            daemon.client.sessions.create("review")
            words = ("--state-root", str(daemon.root), "chat", "review")
            with screen(*words, columns=COLUMNS, rows=ROWS, HOME=folder, XDG_STATE_HOME="") as on:
                on.prompted()
                on.type(f"Simplify total() in bill.py, and commit it.{ENTER}")
                on.wait("Sum the prices")
                on.wait("Allow")
                page = browser.new_page(viewport={"width": 900, "height": 760})
                page.set_content(f"<style>{STYLE}</style><pre>{rendered(on)}</pre>")
                page.locator("pre").screenshot(path=str(file))
                page.close()


def rendered(on: Screen) -> str:
    """Return the rows that have a text as HTML."""
    rows = list(on.cells)
    while rows and not "".join(cell.data for cell in rows[-1]).strip():
        rows.pop()
    return "\n".join("".join(_runs(row)) for row in rows)


def _runs(row: Iterable[Any]) -> Iterable[str]:
    for style, cells in groupby(row, _style):
        text = html.escape("".join(cell.data for cell in cells))
        yield f'<span style="{style}">{text}</span>' if style else text


def _style(cell: Any) -> str:
    front, back = (cell.bg, cell.fg) if cell.reverse else (cell.fg, cell.bg)
    parts = [f"color:{_colour(front)}"] if front != "default" else ["color:#1e1e2e"] if cell.reverse else []
    if back != "default" or cell.reverse:
        parts.append(f"background:{_colour(back) if back != 'default' else '#cdd6f4'}")
    parts += ["font-weight:bold"] if cell.bold else []
    parts += ["font-style:italic"] if cell.italics else []
    parts += ["text-decoration:underline"] if cell.underscore else []
    return ";".join(parts)


def _colour(name: str) -> str:
    return COLOURS.get(name, f"#{name}")
