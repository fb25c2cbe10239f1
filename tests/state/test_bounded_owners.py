"""What an owner has ended is in the index only: loading and folding cost what is open, not what there was."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from kheish.domain import nouns
from kheish.errors import Damaged, Invalid, Unavailable
from kheish.state import pins, streams
from kheish.store.log import journal
from kheish.store.log.index import SCHEMA_VERSION, Reader, Writer
from tests.support import trial
from tests.support.stateful import Played
from tests.support.trial import KINDS, Letter

MANY = 30_000


@pytest.fixture(autouse=True)
def trial_nouns() -> Iterator[None]:
    with trial.registered():
        yield


def reader_of(p: Played) -> Reader:
    return Reader(p.root / ".kheish" / "index.sqlite")


def append(p: Played, stream: str, which: int, box: str, id: str, *text: str) -> None:
    p.state.append(KINDS[stream][1][which](box_id=box, id=id, **({"text": text[0]} if text else {})).on())


def filled(path: Path, ended: int, kept: int = 10) -> Reader:
    """An index in which the owner `boxes/a` has so many ended and so many open letters."""
    Writer(path).set("whole", 1)
    doc = orjson.dumps({"box_id": "a", "id": "", "text": "x", "made": 1, "n": 1, "is_final": True}).decode()
    values = (("letter", f"l{n:08}", "boxes/a", "ended", n, n, doc, int(n > ended)) for n in range(1, ended + kept + 1))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN")
    db.executemany("INSERT INTO things(noun, id, session, status, made, n, doc, kept) VALUES(?,?,?,?,?,?,?,?)", values)
    lines = ((n, "journals/boxes/a", n, None, None, "letter.sent", "{}") for n in range(1, ended + kept + 1))
    db.executemany("INSERT INTO entries VALUES(?,?,?,?,?,?,?)", lines)
    db.execute("COMMIT")
    db.close()
    return Reader(path)


def steps(reader: Reader) -> int:
    """How many hundreds of steps SQLite takes to load `boxes/a`: a time that no other process disturbs."""
    count = [0]

    def step() -> None:
        count[0] += 1

    reader._db().set_progress_handler(step, 100)
    part = streams.read(reader, nouns.NOUNS, "boxes/a")
    reader._db().set_progress_handler(None, 100)
    assert len(part.tables[Letter]) == 10
    return count[0]


@pytest.mark.parametrize("count", [MANY])
def test_an_owner_with_many_ended_values_loads_as_one_with_ten(tmp_path: Path, count: int) -> None:
    few, many = filled(tmp_path / "few.sqlite", 10), filled(tmp_path / "many.sqlite", count)
    assert steps(many) <= steps(few) + 2
    part = streams.read(many, nouns.NOUNS, "boxes/a")
    assert (part.seq, part.last_n) == (count + 10, count + 10)


@pytest.mark.parametrize("stream", KINDS)
async def test_what_has_ended_leaves_memory_when_the_index_has_it(p: Played, stream: str) -> None:
    cls = KINDS[stream][0]
    await p.state.load_owner(stream, "a")
    for number in range(100):
        append(p, stream, 0, "a", f"l{number}", "hello")
        append(p, stream, 2, "a", f"l{number}")
        assert p.state.get(cls, f"l{number}").is_final, "its verb looks at it after the append"
        assert not p.state.table(cls, f"{stream}/a")
    append(p, stream, 0, "a", "open", "hello")
    p.flush()
    assert set(p.state.table(cls, f"{stream}/a")) == set(p.state._parts[cls]) == {"open"}
    assert p.state.find(cls, "l7") is None and not p.state.unjournaled
    async with pins.thing(p.state, cls, "l7") as doc, pins.thing(p.state, cls, "open") as still_open:
        assert doc is not None and doc["is_final"] and still_open is None
    assert [one["id"] for one in reader_of(p).things(cls.__name__.lower(), limit=2, session=f"{stream}/a").items] == [
        "open", "l99",
    ]  # fmt: skip


async def test_a_pin_loads_the_owner_of_an_open_thing(p: Played) -> None:
    await p.state.load_owner("boxes", "a")
    append(p, "boxes", 0, "a", "open", "hello")
    p.flush()
    again = p.restart()
    assert again.state.find(Letter, "open") is None
    async with pins.thing(again.state, Letter, "open") as document:
        assert document is None and "boxes/a" in again.state.pins
    assert again.state.get(Letter, "open").text == "hello" and list(again.state.owners) == ["boxes/a"]
    again.index.close()


async def test_an_owner_goes_on_numbering_where_its_journal_ends(p: Played) -> None:
    for box in ("a", "b"):
        await p.state.load_owner("boxes", box)
    for number in range(3):
        append(p, "boxes", 0, "a", f"l{number}", "hello")
    append(p, "boxes", 0, "b", "m", "hello")
    p.flush()
    assert not p.state.streams, "no number of an owner's journal is kept for ever"
    for path in (p.root / "journals" / "boxes").glob("*/*"):
        path.write_bytes(b"not a journal line\n")  # whoever read this would say so
    again = p.restart()
    await again.state.load_owner("boxes", "a")
    append(again, "boxes", 2, "a", "l0")
    [recorded] = again.state.waiting.entries
    assert (recorded.journal, recorded.entry.seq) == ("journals/boxes/a", 4)
    assert orjson.loads(recorded.line)["stream"] == "boxes/a"
    again.index.close()


@pytest.mark.parametrize("box", ["../x", "a/b", "", "A", "a\n", ".git", "x.lock", "x" * 129])
async def test_an_owner_whose_id_cannot_be_a_folder_has_no_journal(p: Played, box: str) -> None:
    p.flush()
    await p.state.load_owner("boxes", box)
    with pytest.raises(Invalid):
        append(p, "boxes", 0, box, "l", "hello")
    assert not p.groups


async def test_what_the_index_lacks_of_a_journal_is_no_proof_that_there_is_nothing(p: Played) -> None:
    await p.state.load_owner("boxes", "a")
    append(p, "boxes", 0, "a", "l", "hello")
    p.flush()
    p.state.owners.clear()
    p.index.mark_lacking("journals/boxes/a")
    with pytest.raises(Damaged, match="reindex"):
        await p.state.load_owner("boxes", "a")
    await p.state.load_owner("boxes", "b")
    p.index.create()
    with pytest.raises(Unavailable):
        await p.state.load_owner("boxes", "a")


async def test_a_long_journal_is_folded_in_portions_or_not_at_all(p: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PORTION", 50)
    await p.state.load_owner("fires", "a")
    for number in range(400):
        append(p, "fires", 0, "a", f"l{number}", "x" * 300)
        append(p, "fires", 2, "a", f"l{number}")
    p.flush()
    portions = list(streams.changes_after(p.root, nouns.NOUNS, "journals/fires", 0, [], index=None, whole=True))
    assert max(map(len, portions)) == 50
    assert {change.id: change.value.is_final for portion in portions for change in portion} == {
        f"l{number}": True for number in range(400)
    }
    [*_, last] = journal.segments(p.root / "journals" / "fires")
    last.write_bytes(last.read_bytes() + b"not a line\n")
    with pytest.raises(Damaged):
        next(streams.changes_after(p.root, nouns.NOUNS, "journals/fires", 0, [], index=None, whole=True))


async def test_an_index_that_is_behind_reads_the_end_of_the_journal_only(p: Played) -> None:
    await p.state.load_owner("fires", "a")
    for number in range(1000):
        append(p, "fires", 0, "a", f"l{number}", "x" * 200)
        append(p, "fires", 2, "a", f"l{number}")
    p.flush()
    n = p.state.n
    append(p, "fires", 0, "a", "new", "y")
    append(p, "fires", 2, "a", "new")
    [group, _] = p.groups
    p.journals.append("journals/fires", [(e.entry.seq, e.line) for e in p.state.waiting.entries])
    parts = journal.segments(p.root / "journals" / "fires")
    for path in parts[1:-1]:
        head, _, _ = path.read_bytes().partition(b"\n")
        path.write_bytes(head + b"\nnot a journal line\n")  # whoever read this would say so
    assert len(parts) > 4 and group.first == n + 1
    portions = list(streams.changes_after(p.root, nouns.NOUNS, "journals/fires", n, [], index=reader_of(p), whole=True))
    assert [(one.id, one.n, one.value.is_final) for portion in portions for one in portion] == [("new", n + 2, True)]


def test_the_schema_has_a_number_of_its_own() -> None:
    assert SCHEMA_VERSION >= 7, "an index of a version before this lacks the column `kept`: it must be rebuilt"


# --- random lives -----------------------------------------------------------------------------------------------------

BOXES = ("a", "b", "c.jsonl")
ACTS = st.tuples(
    st.sampled_from(list(KINDS)), st.sampled_from(BOXES), st.sampled_from(("send", "move", "end", "flush", "restart"))
)


def shown(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in ("box_id", "id", "text", "made", "n", "is_final")}


class Lives:
    """What should be there, kept beside the real thing."""

    def __init__(self, root: Path) -> None:
        self.p = Played(root)
        self.values: dict[str, dict[str, Any]] = {"boxes": {}, "fires": {}}
        self.closing = [self.p]

    async def act(self, stream: str, box: str, what: str, number: int) -> None:
        state, values = self.p.state, self.values[stream]
        await state.load_owner(stream, box)
        mine = [one for one in values.values() if one["box_id"] == box and not one["is_final"]]
        match what:
            case "send":
                append(self.p, stream, 0, box, id := f"{stream}{number}", "hello")
                values[id] = {
                    "box_id": box,
                    "id": id,
                    "text": "hello",
                    "made": state.n,
                    "n": state.n,
                    "is_final": False,
                }
            case "move" if mine:
                append(self.p, stream, 1, box, mine[-1]["id"], text := f"text {number}")
                mine[-1] |= {"text": text, "n": state.n}
            case "end" if mine:
                append(self.p, stream, 2, box, mine[0]["id"])
                mine[0] |= {"is_final": True, "n": state.n}
            case "flush":
                self.p.flush()
            case "restart":
                streams = dict(self.p.state.streams)
                self.p = self.p.restart()
                self.p.state.streams = streams
                self.closing.append(self.p)

    def check_memory(self) -> None:
        for stream, (cls, _) in KINDS.items():
            kept = {id: one for id, one in self.values[stream].items() if not one["is_final"]}
            for box in BOXES:
                if (part := self.p.state.owners.get(f"{stream}/{box}")) is not None:
                    mine = {id: one for id, one in kept.items() if one["box_id"] == box}
                    assert {id: shown(value) for id, value in part.tables[cls].items()} == mine

    def check_rest(self) -> None:
        """Index, journals, and what a moment of the past had, agree with it all."""
        self.p.flush()
        reader = reader_of(self.p)
        for stream, (cls, _) in KINDS.items():
            values = self.values[stream]
            name = cls.__name__.lower()
            assert {id: reader.thing(name, id) for id in values} == values
            wheres = [f"journals/boxes/{box}" for box in BOXES] if stream == "boxes" else ["journals/fires"]
            anew = [
                change
                for where in wheres
                for portion in streams.changes_after(self.p.root, nouns.NOUNS, where, 0, [], index=None, whole=True)
                for change in portion
            ]
            assert {one.id: shown(one.value) for one in anew} == values
            for box in BOXES:
                part = streams.read(reader, nouns.NOUNS, f"{stream}/{box}")
                mine = {id: one for id, one in values.items() if one["box_id"] == box}
                assert {id: shown(one) for id, one in part.tables[cls].items()} == {
                    id: one for id, one in mine.items() if not one["is_final"]
                }
                assert part.last_n == max([one["n"] for one in mine.values()], default=0)
                at = streams.values_at(reader, nouns.NOUNS, stream, box, self.p.state.n).get(cls, {})
                assert {id: shown(one) for id, one in at.items()} == mine


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTS, max_size=40))
def test_memory_index_and_journals_agree_whatever_happens(acts: list[tuple[str, str, str]]) -> None:
    import asyncio

    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            lives = Lives(Path(folder))
            for number, (stream, box, what) in enumerate(acts):
                await lives.act(stream, box, what, number)
                lives.check_memory()
            lives.check_rest()
            for one in lives.closing:
                one.index.close()

    asyncio.run(live())
