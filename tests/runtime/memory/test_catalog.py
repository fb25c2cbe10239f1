"""Pages of memory files: the order of paths, each file once, whatever the names of folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from kheish.domain.memory.names import Place
from kheish.runtime.memory import catalog as listing, finding, signatures
from kheish.runtime.memory.catalog import Catalog, Note
from kheish.runtime.memory.finding import matches
from kheish.store import door

NAMES = st.text(alphabet="ab-.0", min_size=1, max_size=4)


def note(owner: str, name: str) -> Note:
    return Note(
        place=Place("session", owner), name=f"{name}.md", digest=f"{owner}/{name}", bytes=1, changed_at=0.0,
        description="", load="index", expires=None, text=None,
    )  # fmt: skip


@given(files=st.sets(st.tuples(NAMES, NAMES), max_size=30), size=st.integers(1, 4))
def test_pages_have_each_file_once_in_the_order_of_paths(files: set[tuple[str, str]], size: int) -> None:
    catalog = Catalog()
    for owner, name in files:
        catalog.put(note(owner, name))
    seen: list[str] = []
    after: str | None = None
    while page := [one.path for one, _ in zip(catalog.after(after), range(size), strict=False)]:
        seen += page
        after = page[-1]
    assert seen == sorted(note(*one).path for one in files) == [one.path for one in catalog.all()]


def test_words_match_whole_words_and_beginnings() -> None:
    text = "We deploy on Mondays; unique7777."
    assert matches(text, "DEPLOY mondays") and matches(text, "uniq*") and matches(text, '"deploy on"')
    assert not matches(text, "ploy") and not matches(text, "deploy fridays") and not matches(text, "mond")


@given(text=st.text('ab* ."', max_size=60), query=st.text('ab* ."', max_size=12) | st.text(max_size=30))
def test_a_signature_never_hides_a_match(text: str, query: str) -> None:
    if matches(text, query):
        assert signatures.may_have(signatures.of(text), finding.whole_words(query.lower()))


def test_a_search_for_a_rare_word_reads_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, notes, opened = Place("session", "s"), list[Note](), list[str]()
    (tmp_path / place.folder).mkdir(parents=True)
    for number in range(2000):
        path = place.path(f"n{number}.md")
        (tmp_path / path).write_text(f"A common word, and unique{number}.\n")
        seen = listing.look(tmp_path, path)
        assert seen.note is not None
        notes.append(seen.note)
    read = door.read
    monkeypatch.setattr(door, "read", lambda root, path, **more: opened.append(path) or read(root, path, **more))
    for query in ("unique777", '"word, and unique777" unique777', "UNIQUE777 comm*", "n777 uniq*"):
        opened.clear()
        assert [hit.note.name for hit in finding.search(tmp_path, notes, query, 50)] == ["n777.md"]
        assert len(opened) <= 60, "about one of 300 is read in vain"
