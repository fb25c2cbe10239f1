"""The index: pages, filters, cursors; and that it may be deleted at any moment."""

from __future__ import annotations

import base64
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kheish.domain.nouns import NOUNS
from kheish.errors import InvalidCursor, Unavailable
from kheish.store.log import index, owners, pages
from kheish.store.log.index import Reader, Writer
from kheish.store.log.pages import Page, cursor_before


def row(n: int, session: str | None = "s", run: str | None = None, kind: str = "x", journal: str = "j") -> Any:
    return (n, journal, n, session, run, kind, f'{{"n":{n}}}')


def thing(id: str, made: int, n: int | None = None, *, session: str = "s", status: str = "open", **doc: Any) -> Any:
    return ("run", id, session, status, made, n or made, orjson.dumps({"id": id, **doc}).decode(), None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder? 100%" / "index.sqlite"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(path, NOUNS.filters)
    yield writer
    writer.close()


def ids(page: Page) -> list[str]:
    return [item["id"] for item in page.items]


def test_a_list_is_paged_newest_first_and_complete(path: Path, writer: Writer) -> None:
    writer.apply([], [thing(f"r{number}", number) for number in range(1, 11)], 10)
    reader, found, cursor = Reader(path), list[str](), None
    while True:
        page = reader.things("run", limit=3, cursor=cursor)
        found += ids(page)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [f"r{number}" for number in range(10, 0, -1)]
    assert reader.things("run", limit=10).next_cursor is None


def test_a_page_with_a_condition_reads_a_bounded_number_of_documents(
    path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "LOOKED", 4)
    writer.apply([], [thing(f"r{number}", number) for number in range(1, 13)], 12)
    reader, read = Reader(path), list[str]()

    def is_tenth_or_third(doc: Any) -> bool:
        read.append(doc["id"])
        return doc["id"] in ("r10", "r9", "r3")

    found, cursor = list[list[str]](), None
    while True:
        page = reader.things("run", limit=2, cursor=cursor, keep=is_tenth_or_third)
        found.append(ids(page))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [["r10", "r9"], [], ["r3"]]
    assert read == [f"r{number}" for number in range(12, 0, -1)], "each document once"


def test_a_page_goes_on_where_it_was_though_new_things_come(path: Path, writer: Writer) -> None:
    writer.apply([], [thing(f"r{number}", number) for number in range(1, 5)], 4)
    first = Reader(path).things("run", limit=2)
    writer.apply([], [thing("r5", 5)], 5)
    assert ids(Reader(path).things("run", limit=2, cursor=first.next_cursor)) == ["r2", "r1"]


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


@pytest.mark.parametrize(
    "cursor", ["", "x", "ü", "m5", "===", encoded(b"m" + b"9" * 30), encoded(b"m-1"), encoded(b"m 1"), encoded(b"n5")]
)
def test_a_cursor_that_no_list_gave_is_refused(path: Path, writer: Writer, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        Reader(path).things("run", limit=1, cursor=cursor)


def test_filters_narrow_a_list(path: Path, writer: Writer) -> None:
    rows = [thing("a", 1, route="x"), thing("b", 2, status="done", route="y"), thing("c", 3, session="t", route="x")]
    writer.apply([], rows, 3)
    reader = Reader(path)
    assert ids(reader.things("run", limit=9, session="t")) == ["c"]
    assert ids(reader.things("run", limit=9, statuses=["done"])) == ["b"]
    assert ids(reader.things("run", limit=9, statuses=["done", "open"])) == ["c", "b", "a"]
    assert ids(reader.things("run", limit=9, fields={"route": "x"})) == ["c", "a"]
    assert ids(reader.things("session", limit=9)) == []
    assert (reader.count("run"), reader.count("run", ["open"])) == (3, 2)
    assert reader.sessions_with("run", ["open"]) == ["s", "t"]


def test_a_filter_by_playbook_does_not_go_through_all_flows(path: Path, writer: Writer) -> None:
    flows = [("flow", f"f{n}", "s", "open", n, n, orjson.dumps({"id": f"f{n}", "playbook": f"p{n % 3}"}).decode(), None)
             for n in range(1, 10)]  # fmt: skip
    writer.apply([], flows, 9)
    reader = Reader(path)
    plans: list[str] = []
    reader._db().set_trace_callback(plans.append)
    assert ids(reader.things("flow", limit=2, fields={"playbook": "p1"})) == ["f7", "f4"]
    assert ids(reader.things("flow", limit=9, fields={"playbook": "p1"}, statuses=("ended",))) == []
    reader._db().set_trace_callback(None)
    told = [
        str(reader._db().execute(f"EXPLAIN QUERY PLAN {asked}").fetchall())
        for asked in plans
        if "sqlite_master" not in asked
    ]
    assert all("SEARCH things USING" in one and "TEMP B-TREE" not in one for one in told)
    assert "USING INDEX things_flow_playbook" in told[0] and "USING INDEX things_status" in told[-1]


def test_an_older_document_does_not_replace_a_newer_one(path: Path, writer: Writer) -> None:
    writer.apply([], [thing("a", 1, 5, status="done", text="new")], 5)
    writer.apply([], [thing("a", 1, 3, status="open", text="old")], 3)
    reader = Reader(path)
    assert reader.thing("run", "a") == {"id": "a", "text": "new"}
    assert reader.newest() == 5
    assert reader.thing("run", "b") is None


def test_events_after_a_number_by_session_run_and_kind(path: Path, writer: Writer) -> None:
    rows = [row(1), row(2, "t", "r1"), row(3, "s", "r2", "y"), row(4, None, None, "daemon.paused", "journals/daemon")]
    writer.apply(rows, [], 4)
    writer.apply(rows, [], 4)  # again: a restart
    reader = Reader(path)
    assert [n for n, _, _ in reader.events(0, limit=9)] == [1, 2, 3, 4]
    assert [n for n, _, _ in reader.events(1, limit=2)] == [2, 3]
    assert [n for n, _, _ in reader.events(0, limit=9, session="s")] == [1, 3]
    assert [n for n, _, _ in reader.events(0, limit=9, run="r1")] == [2]
    assert reader.events(0, limit=9, kinds=["y"]) == [(3, "y", '{"n":3}')]
    assert [n for n, _, _ in reader.stream("journals/daemon", ["daemon.paused"])] == [4]


def test_a_batch_that_fails_leaves_nothing_behind(path: Path, writer: Writer) -> None:
    with pytest.raises(sqlite3.Error):
        writer.apply([row(1)], [("run", "a")], 1)
    assert Reader(path).events(0, limit=9) == []
    writer.apply([row(2)], [], 2)
    assert [n for n, _, _ in Reader(path).events(0, limit=9)] == [2]


def test_a_deleted_file_is_unavailable_until_it_is_made_again(path: Path, writer: Writer) -> None:
    writer.apply([], [thing("a", 1)], 1)
    reader = Reader(path)
    assert reader.count("run") == 1
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(Unavailable):
        reader.count("run")
    writer.create()
    assert reader.count("run") == 0
    writer.apply([], [thing("b", 2)], 2)
    assert reader.thing("run", "b") is not None


def test_readers_in_other_threads_see_what_is_written(path: Path, writer: Writer) -> None:
    reader, found = Reader(path), list[int]()
    writer.apply([], [thing("a", 1)], 1)
    threads = [threading.Thread(target=lambda: found.append(reader.count("run"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1, 1]


def test_another_schema_or_a_damaged_file_begins_anew(path: Path, writer: Writer) -> None:
    writer.apply([], [thing("a", 1)], 1)
    writer.set("schema", index.SCHEMA_VERSION + 1)
    writer.close()
    again = Writer(path)
    assert (again.get("n"), again.get("schema")) == (None, index.SCHEMA_VERSION)
    again.close()
    path.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    Writer(path).close()
    assert Reader(path).count("run") == 0


def test_a_new_filter_gets_its_index_in_an_old_file(path: Path) -> None:
    old = Writer(path)
    old.apply([], [thing("r1", 1, colour="red"), thing("r2", 2, colour="blue")], 2)
    old.close()
    with pytest.raises(ValueError, match="not filtered"):
        Reader(path).things("run", limit=5, fields={"colour": "red"})
    new = Writer(path, {"run": ("colour",)})
    assert ids(Reader(path).things("run", limit=5, fields={"colour": "red"})) == ["r1"]
    new.close()


def test_facts_are_kept_over_a_restart(path: Path, writer: Writer) -> None:
    writer.set("commit", "abc")
    writer.apply([row(7)], [], 7)
    writer.close()
    again = Writer(path)
    assert (again.get("commit"), again.get("n")) == ("abc", 7)
    again.close()


@pytest.mark.demand(20)
@pytest.mark.parametrize(("noun", "key"), [(noun, key) for noun, keys in NOUNS.filters.items() for key in keys])
def test_a_filtered_list_reads_no_more_than_it_shows(path: Path, writer: Writer, noun: str, key: str) -> None:
    """Whatever SQLite has to look through grows with the sessions; a step down an index that is in order does not."""
    db, asked = sqlite3.connect(path), list[str]()
    reader = Reader(path)
    reader._db().set_trace_callback(asked.append)

    for more in ({}, {"cursor": cursor_before(9)}, {"session": "s"}):
        reader.things(noun, limit=5, fields={key: "rare"}, **more)
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked.pop()}"))
        wanted = "things_session " if "session" in more else f"things_{noun}_{key} "
        assert f"SEARCH things USING INDEX {wanted}" in plan and "TEMP B-TREE" not in plan

    db.close()


@pytest.mark.demand(20)
@pytest.mark.parametrize(("few", "wanted"), [(501, "things_status "), (500, "things_run_route ")])
def test_a_rare_status_goes_before_a_common_member(
    path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, few: int, wanted: str
) -> None:
    """Both conditions hold for each thing of the page, whichever index the things come from."""
    monkeypatch.setattr(index, "_FEW", few)
    made = range(1, 1001)
    status = {n: "running" if n % 2 else "failed" for n in made}
    writer.apply([], [thing(f"r{n}", n, status=status[n], route="a" if n % 5 else "b") for n in made], 1000)
    db, asked = sqlite3.connect(path), list[str]()
    reader = Reader(path)
    reader._db().set_trace_callback(asked.append)

    page = reader.things("run", limit=4, statuses=["running"], fields={"route": "b"})
    plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {asked.pop()}"))

    assert ids(page) == ["r995", "r985", "r975", "r965"]
    assert f"USING INDEX {wanted}" in plan
    db.close()


@pytest.mark.demand(5)
def test_a_start_reads_what_is_open_and_not_what_there_was(path: Path, writer: Writer) -> None:
    made = range(1, 501)
    writer.apply([], [thing(f"r{n}", n, status="queued" if n in (7, 300) else "completed") for n in made], 500)
    db, asked = sqlite3.connect(path), list[str]()
    reader = Reader(path)
    reader._db().set_trace_callback(asked.append)

    reader.sessions_with("run", ["queued", "running"])
    owners.ended(reader, "releases/triage", 7)
    plans = [" ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {one}")) for one in asked]

    assert "USING INDEX things_status (noun=? AND status=?)" in plans[0]
    assert "USING INDEX things_owned (session=? AND kept=? AND n>?)" in plans[1]
    db.close()


@pytest.mark.demand(20)
def test_what_no_index_answers_is_not_asked(path: Path, writer: Writer) -> None:
    with pytest.raises(ValueError, match="title"):
        Reader(path).things("session", limit=5, fields={"title": "x' OR 1=1 --"})
