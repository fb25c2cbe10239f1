"""Full text: what an entry says, how it is found again, and that what is forgotten is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from kheish.store.log import texts
from kheish.store.log.index import Reader, Writer

SPILLED = {"sha256": "a" * 64, "bytes": 9, "preview": "the begin"}


def entry(n: int, data: dict[str, Any], session: str = "fix-it", kind: str = "x") -> dict[str, Any]:
    return {"v": 1, "n": n, "seq": n, "at": "2026", "kind": kind, "session": session, "run": "r", "data": data}


class Book:
    """An index with entries in it."""

    def __init__(self, folder: Path) -> None:
        self.writer = Writer(folder / "index.sqlite")
        self.reader = Reader(folder / "index.sqlite")

    def add(self, *entries: dict[str, Any], whole: str | None = None) -> None:
        rows = [(e["n"], "j", e["seq"], e["session"], e["run"], e["kind"], orjson.dumps(e).decode()) for e in entries]
        said = [text for one in entries if (text := texts.of(one, lambda reference: whole))]
        self.writer.apply(rows, [], entries[-1]["n"], said)

    def found(self, words: str, *places: tuple[str, int | None], **more: Any) -> list[int]:
        return [row[0] for row in self.reader.search(words, limit=50, places=places, **more)]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_messages_calls_and_results_are_what_is_said() -> None:
    data = {
        "text": "I look",
        "calls": [{"id": "c1", "name": "bash", "arguments": {"command": "make deploy", "env": {"A": "b"}}}],
        "digest": "d" * 64,
        "opaque": {"text": "hidden"},
        "settings": {"title": "Nightly", "persona": {"description": "no"}},
        "reason": "restart",
    }
    text = texts.of(entry(1, data), lambda reference: None)
    assert text is not None and text[2].split("\n") == ["I look", "bash", "make deploy", "b", "Nightly"]
    assert texts.of(entry(1, {"digest": "x"}), lambda reference: None) is None
    assert texts.of({**entry(1, data), "session": None}, lambda reference: None) is None
    streamed = {"n": 1, "data": data}
    assert texts.of({**streamed, "stream": "releases"}, lambda reference: None) is None
    owned = texts.of({**streamed, "stream": "channels/room"}, lambda reference: None)
    assert owned is not None and owned[1] == "channels/room"


def test_all_words_phrases_beginnings_and_newest_first(book: Book) -> None:
    book.add(entry(1, {"text": "deploy the blue service"}), entry(2, {"text": "the service is blue; Déployed!"}))
    assert book.found("blue service") == [2, 1]
    assert book.found('"blue service"') == [1]
    assert book.found("deploy*") == [2, 1]
    assert book.found("deploy") == [1]
    assert book.found("blue green") == []
    assert book.found("blue", below=2) == [1]
    assert book.found('" OR x NEAR( -') == []
    assert book.found("blue\0service") == [2, 1] and book.found('"blue\0service"') == [1], "a NUL separates words"


@pytest.mark.parametrize("words", ["", "  ", '"" *', "-- ()"])
def test_a_query_without_a_word_is_refused(book: Book, words: str) -> None:
    with pytest.raises(ValueError, match="no word"):
        book.found(words)


def test_a_search_stays_in_its_sessions_and_their_part(book: Book) -> None:
    book.add(entry(1, {"text": "alpha"}), entry(2, {"text": "alpha"}, "fix-it-2"), entry(3, {"text": "alpha"}))
    assert book.found("alpha", ("fix-it", None)) == [3, 1]
    assert book.found("alpha", ("fix-it-2", None), ("fix-it", 1)) == [2, 1]
    assert book.found("alpha") == [3, 2, 1]


def test_what_was_spilled_is_found_by_all_of_it(book: Book) -> None:
    book.add(entry(1, {"content": SPILLED}), whole="the begin and the needle at its end")
    assert book.found("needle") == [1]
    assert book.reader.search("needle", limit=1)[0][4].endswith("its end")


def test_a_batch_that_comes_again_counts_once_and_forgotten_is_gone(book: Book) -> None:
    lines = (entry(1, {"text": "alpha"}), entry(2, {"content": SPILLED}), entry(3, {"text": "alpha"}, "other"))
    book.add(*lines, whole="the needle")
    book.add(*lines, whole="the needle")
    assert (book.found("alpha"), book.found("needle")) == ([3, 1], [2])
    book.writer.forget("fix-it")
    assert (book.found("alpha"), book.found("needle")) == ([3], [])
    left = book.writer._db.execute("SELECT count(*) FROM texts WHERE texts MATCH 'alpha'").fetchone()[0]
    assert left == 1  # not only hidden: out of the index
    assert book.writer._db.execute("SELECT count(*) FROM spilled").fetchone()[0] == 0


def test_a_snippet_is_one_line_around_the_word() -> None:
    text = "a\n" * 200 + "the needle\nis here" + " b" * 200
    assert "the needle is here" in texts.snippet(text, ["missing", "NEEDLE"])
    assert len(texts.snippet(text, ["needle"])) <= 162
