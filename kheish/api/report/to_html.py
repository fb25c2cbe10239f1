"""A report as one self-contained HTML page: no script, no font, no external picture; all text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from kheish.api.report import diagram
from kheish.api.report.blocks import Block, Cell, Code, Commit, Commits, Diagram, Heading, Items, Paragraph, Table
from kheish.store.git.textconv import visible

#: the page's content security policy: only its own styles
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #2a7d46; --bad: #b3261e; --wait: #96610a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th { background: var(--soft); font-weight: 600; } td.long { overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .7rem; overflow-x: auto; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
svg { max-width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
.satisfied, .succeeded, .allowed { color: var(--good); } .failed, .denied, .cancelled { color: var(--bad); }
.waiting, .blocked, .pending { color: var(--wait); }
@media print { body { margin: 0; max-width: none; } }
"""
#: the length of a word from which it may be broken: ids and digests, not names of phases and tools
_LONG = 22
#: cells that are coloured by their content
_WORDS = frozenset(
    ["satisfied", "succeeded", "allowed", "failed", "denied", "cancelled", "waiting", "blocked", "pending"]
)


def escape(text: str) -> str:
    """Return the text as HTML that shows all of it literally."""
    return html.escape(visible(text))


def render(title: str, blocks: Iterable[Block]) -> str:
    """Return the page."""
    body = "\n".join(line for block in blocks for line in _block(block))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level=level, text=text):
            yield f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text=text):
            yield f"<p>{'<br>'.join(escape(line) for line in text.splitlines())}</p>"
        case Items(lines=lines):
            yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
        case Table(head=head, rows=rows):
            yield from _table(head, rows)
        case Code(text=text):
            yield f"<pre>{escape(text)}</pre>"
        case Commits(rows=rows):
            yield "<ul>"
            for id, time, message in rows:
                yield f'<li id="c-{escape(id[:12])}"><code>{escape(id)}</code> {escape(time)} {escape(message)}</li>'
            yield "</ul>"
        case Diagram(nodes=nodes):
            yield diagram.svg(nodes)


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    yield '<div class="wide"><table>'
    if any(head):
        heads = [f'<th scope="col">{escape(one)}</th>' for one in head]
        yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in rows:
        yield f"<tr>{''.join(_cell(cell) for cell in row)}</tr>"
    yield "</tbody></table></div>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Commit):
        short = escape(cell.id[:12])
        return f'<td><a href="#c-{short}"><code>{short}</code></a></td>'
    long = any(len(word) > _LONG for word in cell.split())
    named = cell if cell in _WORDS else "long" if long else ""
    kind = f' class="{named}"' if named else ""
    return f"<td{kind}>{'<br>'.join(escape(line) for line in cell.splitlines())}</td>"
