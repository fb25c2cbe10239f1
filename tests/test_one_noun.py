"""A noun costs files of its own and a line in each shared list: a trial noun is added to a copy of the tree."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: the noun's own files, by their path in the package
OWN: Mapping[str, str] = {
    "domain/events/memos.py": '''"""Events of memos."""

from __future__ import annotations

from kheish.state.event import Event, frozen


@frozen
class MemoWritten(Event):
    """A memo of a session."""

    kind = "memo.written"
    memo_id: str
    colour: str
''',
    "domain/memos.py": '''"""Memos of a session."""

from __future__ import annotations

from collections.abc import Iterable

from kheish.domain import events
from kheish.domain.events import Entry, frozen
from kheish.domain.shown import View
from kheish.state.noun import Noun


@frozen
class Memo:
    """A memo as the journal has it."""

    memo_id: str
    session_id: str
    colour: str
    made: int
    n: int


def fold(table: dict[str, Memo], entry: Entry) -> Iterable[str]:
    """Take one entry in; returns the ids that changed."""
    assert entry.session is not None and isinstance(entry.event, events.MemoWritten)
    event = entry.event
    table[event.memo_id] = Memo(
        memo_id=event.memo_id, session_id=entry.session, colour=event.colour, made=entry.n, n=entry.n
    )
    return (event.memo_id,)


@frozen
class MemoView(View):
    """A memo."""

    memo_id: str
    session_id: str
    colour: str


def view(memo: Memo) -> MemoView:
    """Return the memo as the API and its Record show it."""
    return MemoView(memo_id=memo.memo_id, session_id=memo.session_id, colour=memo.colour)


NOUN = Noun(
    name="memo",
    cls=Memo,
    folded=frozenset({events.MemoWritten}),
    fold=lambda tables, entry: fold(tables[Memo], entry),
    keep=lambda memo: False,
    view=view,
    status=lambda memo: None,
    record=lambda memo: f"memos/{memo.memo_id}.yaml",
    filters=("colour",),
)
''',
    "api/memos.py": '''"""Memos by HTTP: list."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import memos

LIST = (*paging.PAGE, *paging.SESSION, *(paging.text(name) for name in memos.NOUN.filters))


class Memos:
    """`/v1/memos`."""

    def __init__(self, parts: Services) -> None:
        self._state = parts.state

    async def list_memos(self, req: Request, resp: Response) -> None:
        """A page of memos, newest first."""
        media.send(resp, await views.listed(self._state, memos.Memo, req.context.query))


OPERATIONS = bind(
    Memos, get("/v1/memos", Memos.list_memos, "Memos, newest first.", memos.MemoView, *LIST, page=True, tie="query")
)
''',
    "cli/memos.py": '''"""`kheish memos`: list them."""

from __future__ import annotations

import click

from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import listing


@group()
def memos() -> None:
    """List memos."""


@memos.command("list")
@click.option("--colour", help="Only those of this colour.")
@page_options
@pass_settings
def list_(settings: Settings, colour: str | None, limit: int | None, cursor: str | None) -> None:
    """List memos, newest first."""
    page = settings.client().memos.list(colour=colour, limit=limit, cursor=cursor)
    listing(settings, page, "memo_id", [("MEMO", "memo_id"), ("COLOUR", "colour")], "There are no memos.")
''',
}
#: the shared lists: the line above, the noun's line; then the line above its import, and the import
SHARED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "domain/events/__init__.py": (
        ("from kheish.domain.events.flows import *", "from kheish.domain.events.memos import *"),
    ),
    "domain/nouns.py": (("    tasks.NOUN,", "    memos.NOUN,"), ("    keys,", "    memos,")),
    "api/operations.py": (("    *tasks.OPERATIONS,", "    *memos.OPERATIONS,"), ("    manifests,", "    memos,")),
    "cli/main.py": (
        (
            '    "tasks": ("tasks", "tasks", "List a session\'s tasks: its background commands."),',
            '    "memos": ("memos", "memos", "List memos."),',
        ),
    ),
}
#: what is written from them
GENERATED = ("client/requests.py", "client/shapes.py", "client/sync.py", "client/aio.py")
#: what a user of the copy sees of the noun
USE = """
from kheish.api.operations import OPERATIONS
from kheish.client import AsyncKheish, Kheish
from kheish.domain import events
from kheish.domain.memos import Memo
from kheish.domain.nouns import NOUNS
from kheish.generate import reference, schemas

noun = NOUNS.by_class[Memo]
assert events.kinds()["memo.written"] is events.MemoWritten
assert noun.filters == NOUNS.filters["memo"] == ("colour",)
assert "/v1/memos" in {operation.path for operation in OPERATIONS}
assert Kheish.memos and AsyncKheish.memos
assert "memo-record" in schemas.models()
pages = reference.pages()
assert "`GET /v1/memos`" in pages["api.md"] and "## memo.written" in pages["events.md"]
assert "kheish memos" in pages["cli.md"]
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the trial noun, and everything generated that is written from it."""
    root = tmp_path_factory.mktemp("noun")
    shutil.copytree(ROOT / "kheish", root / "kheish", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("schemas", "docs", "examples", "state-template"):
        (root / name).symlink_to(ROOT / name)
    for name, text in OWN.items():
        (root / "kheish" / name).write_text(text)
    for name, lines in SHARED.items():
        path = root / "kheish" / name
        for above, line in lines:
            assert path.read_text().count(f"{above}\n") == 1, above
            path.write_text(path.read_text().replace(f"{above}\n", f"{above}\n{line}\n"))
    python(root, "-m", "kheish.generate.client")
    return root


def python(root: Path, *words: str) -> str:
    """Run Python on the copy, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shared_lists_take_one_line_per_noun(copy: Path) -> None:
    """An import that a list needs does not count; nothing is changed or removed."""
    edited = {}
    for path in (copy / "kheish").rglob("*.py"):
        name = path.relative_to(copy / "kheish").as_posix()
        if name in OWN or name in GENERATED:
            continue
        before = (ROOT / "kheish" / name).read_text().splitlines()
        diff = [line for line in difflib.ndiff(before, path.read_text().splitlines()) if line[:2] in ("+ ", "- ")]
        if diff:
            edited[name] = [line for line in diff if line != "+     memos,"]
    assert {name: len(lines) for name, lines in edited.items()} == dict.fromkeys(SHARED, 1), edited


def test_the_noun_is_everywhere_then(copy: Path) -> None:
    python(copy, "-c", USE)
    assert "--colour" in python(copy, "-m", "kheish.cli.main", "memos", "list", "--help")
