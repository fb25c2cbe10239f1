"""A noun costs files of its own and a line in each shared list: a trial noun is added to a copy of the tree.

Its memos are events, a noun with a Record, an API, commands, a file that users answer, and a reactor that writes them.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, git, until

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
    headline = "memo in {colour}: {session}"
    memo_id: str
    colour: str


@frozen
class MemoRead(Event):
    """An answer to a memo."""

    kind = "memo.read"
    memo_id: str
    thanks: str
''',
    "domain/memos.py": '''"""Memos of a session."""

from __future__ import annotations

from collections.abc import Iterable

from kheish.domain import events
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.shown import View
from kheish.errors import Conflict
from kheish.state.noun import Noun
from kheish.state.state import State


@frozen
class Memo:
    """A memo as the journal has it."""

    memo_id: str
    session_id: str
    colour: str
    made: int
    n: int
    status: str = "pending"


def fold(table: dict[str, Memo], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    match entry.event:
        case events.MemoWritten() as event:
            assert entry.session is not None
            table[event.memo_id] = Memo(
                memo_id=event.memo_id, session_id=entry.session, colour=event.colour, made=entry.n, n=entry.n
            )
            return (event.memo_id,)
        case events.MemoRead(memo_id=id) if id in table:
            table[id] = changed(table[id], status="read", n=entry.n)
            return (id,)
    return ()


def answer(state: State, memo_id: str, thanks: str) -> None:
    """Record that a memo was read."""
    memo = state.get(Memo, memo_id)
    if memo.status != "pending":
        raise Conflict("The memo was read before.")
    state.append(events.MemoRead(memo_id=memo_id, thanks=thanks).on(memo.session_id))


@frozen
class MemoView(View):
    """A memo."""

    memo_id: str
    session_id: str
    status: str
    colour: str


def view(memo: Memo) -> MemoView:
    """Return the memo as the API and its Record show it."""
    return MemoView(memo_id=memo.memo_id, session_id=memo.session_id, status=memo.status, colour=memo.colour)


NOUN = Noun(
    name="memo",
    cls=Memo,
    folded=frozenset({events.MemoWritten, events.MemoRead}),
    fold=lambda tables, entry: fold(tables[Memo], entry),
    keep=lambda memo: memo.status == "pending",
    view=view,
    pending="memos",
    record="memos/{id}.yaml",
    filters=("colour",),
)
''',
    "api/memos.py": '''"""Memos by HTTP: list."""

from __future__ import annotations

from falcon.asgi import Request, Response

from kheish.api import views
from kheish.api.http import media, paging
from kheish.api import at_revision
from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import memos

LIST = (*paging.PAGE, *paging.SESSION, *(paging.text(name) for name in memos.NOUN.filters), paging.PREFIX)


class Memos:
    """`/v1/memos`."""

    def __init__(self, parts: Services) -> None:
        self._services = parts
        self._state = parts.state

    async def get_memo(self, req: Request, resp: Response, memo_id: str) -> None:
        """Respond with a memo, now or at an earlier revision."""
        if at := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._services, resp, memos.Memo, memo_id, at))
        media.send(resp, await views.document(self._state, memos.Memo, memo_id))

    async def list_memos(self, req: Request, resp: Response) -> None:
        """A page of memos, newest first."""
        media.send(resp, await views.listed(self._state, memos.Memo, req.context.query))


OPERATIONS = bind(
    Memos,
    get("/v1/memos", Memos.list_memos, "Memos, newest first.", memos.MemoView, *LIST, page=True, tie="query"),
    get(
        "/v1/memos/{memo_id}", Memos.get_memo, "A memo.", memos.MemoView, at_revision.AT, tie=memos.Memo
    ),
)
''',
    "cli/memos.py": '''"""`kheish memos`: list them."""

from __future__ import annotations

import click

from kheish.cli.ids import Id
from kheish.cli.options import Settings, group, page_options, pass_settings
from kheish.cli.output import details, emit, listing


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


@memos.command()
@click.argument("memo", type=Id("memo"))
@pass_settings
def show(settings: Settings, memo: str) -> None:
    """Show a memo."""
    found = settings.client().memos.get(memo)
    emit(settings, found, ids=[memo], human=lambda: details(found))
''',
    "authoring/forms/memos.py": '''"""The file of a memo that waits: `thanks:`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from kheish.authoring.forms.form import Form, Model, PendingForm, Resolve, read_text
from kheish.domain import memos
from kheish.errors import Conflict


class PendingMemo(Model):
    """A memo that waits; only fill in `thanks`."""

    memo_id: str
    colour: str
    thanks: str | None = None


def _fill(form: Form, _: Mapping[str, Any]) -> Resolve | None:
    thanks = read_text(form, "thanks")
    return partial(memos.answer, thanks=thanks) if thanks else None


FORM = PendingForm(
    noun=memos.NOUN,
    model=PendingMemo,
    mine=("thanks",),
    blank=lambda _: "thanks:\\n",
    fill=_fill,
    late=lambda _: Conflict("The memo was read before."),
)
''',
    "daemon/reactors/memos.py": '''"""Writes a memo of each completed run."""

from __future__ import annotations

from collections.abc import Sequence

from kheish import ids
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.state.encoding import Recorded
from kheish.state.state import State


class Memos(Reactor):
    """Memos about runs."""

    reacts_to = frozenset((events.RunCompleted,))

    def __init__(self, state: State) -> None:
        self._state = state

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Write the memos of the runs that are completed."""
        for item in batch:
            if isinstance(item.entry.event, events.RunCompleted):
                memo = events.MemoWritten(memo_id=ids.new("memo"), colour="blue")
                self._state.append(memo.on(item.entry.session))
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
            '    "tasks": ("tasks", "tasks", "List, create and change the tasks of a session."),',
            '    "memos": ("memos", "memos", "List memos."),',
        ),
    ),
    "daemon/reactors/__init__.py": (
        ("        Flows(state, damaged=problems.damaged),", "        Memos(state),"),
        ("from kheish.daemon.reactors.flows import Flows", "from kheish.daemon.reactors.memos import Memos"),
    ),
    "authoring/forms/__init__.py": (
        ("        approvals.FORM,", "        memos.FORM,"),
        ("    approvals,", "    memos,"),
    ),
}
IMPORTS = ("+     memos,", "+ from kheish.daemon.reactors.memos import Memos")
#: what is written from them
GENERATED = ("client/requests.py", "client/shapes.py", "client/sync.py", "client/aio.py")
#: what a user of the copy sees of the noun
USE = """
from kheish.authoring.forms import FORMS
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
assert {"memo-record", "pending-memo"} <= schemas.models().keys()
assert FORMS["memo"].noun is noun
pages = reference.pages()
assert "`GET /v1/memos`" in pages["api.md"] and "## memo.written" in pages["events.md"]
assert "kheish memos" in pages["cli.md"]
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with the trial noun, and everything generated that is written from it."""
    root = tmp_path_factory.mktemp("noun")
    shutil.copytree(ROOT / "kheish", root / "kheish")  # with what is compiled; a changed module is compiled anew
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
            edited[name] = [line for line in diff if line not in IMPORTS]
    assert {name: len(lines) for name, lines in edited.items()} == dict.fromkeys(SHARED, 1), edited


def test_generated_files_have_the_noun(copy: Path) -> None:
    python(copy, "-c", USE)
    assert "--colour" in python(copy, "-m", "kheish.cli.main", "memos", "list", "--help")


def test_a_daemon_serves_the_noun(copy: Path, tmp_path: Path) -> None:
    routes = {"local": [{"text": "done"}]}
    with Daemon.fresh(tmp_path, routes=routes, env={"PYTHONPATH": str(copy)}) as daemon:
        daemon.client.sessions.create("desk", route="local")
        daemon.client.runs.start("desk", "go", wait="30s")
        [file] = until(lambda: list(daemon.root.glob("pending/memos/memo_*.yaml")))
        assert file.read_text() == f"memo_id: {file.stem}\ncolour: blue\nthanks:\n"
        file.write_text(file.read_text().replace("thanks:", "thanks: gladly"))
        shown = until(lambda: "read" in (text := daemon.cli("memos", "show", "last").stdout) and text)
        assert file.stem in shown and daemon.cli("memos", "list", "--colour", "red").stdout == ""
        until(lambda: list(daemon.root.glob(f"sessions/*/desk/memos/{file.stem}.yaml")))
        assert "memo in blue: desk" in git(daemon.root, "log", "--format=%B")
        kept = daemon.http("GET", f"/v1/memos/{file.stem}?at=HEAD").json()
        assert kept["memo_id"] == file.stem
