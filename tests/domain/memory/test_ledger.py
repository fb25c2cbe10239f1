"""The ledger: only a user's own act makes a content a user's, in any order of entries."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from kheish.domain import nouns
from kheish.domain.events import Entry, MemoryChanged
from kheish.domain.memory import ledger
from kheish.domain.memory.ledger import MEMORY, Author, Origin
from kheish.state import streams
from kheish.store.log.index import Reader
from tests.support.stateful import Played

USER = Author(by="person", origin="person", via="edit")
AGENT = Author(by="agent:agent_1", origin="agent", via="tool", run_id="run_1", session_id="s")
CHANGES = st.sampled_from(["written", "removed", "renamed", "accepted", "revoked"])
ACTS = st.tuples(CHANGES, st.sampled_from([USER, AGENT]), st.booleans())


def act(change: Any, author: Author, tainted: bool) -> MemoryChanged:
    return MemoryChanged(
        path="memory/shared/a.md",
        digest="d",
        change=change,
        origin=author.origin,
        via=author.via,
        by=author.by,
        tainted=tainted and author is AGENT,
    )


def folded(acts: list[Any]) -> Origin | None:
    table: dict[str, Origin] = {}
    for n, (change, author, tainted) in enumerate(acts, 1):
        event = act(change, author, tainted)
        entry = Entry(n=n, seq=n, at=f"t{n}", session=None, run=None, actor=author.by, event=event)
        ledger.fold(table, entry)
    return table.get("d")


def expected(acts: list[Any]) -> str:
    """The origin in words: a user's act makes it a user's, and only a revocation takes that back."""
    origin = "agent"
    for change, author, _ in acts:
        if change == "accepted" or (change == "written" and author is USER):
            origin = "person"
        elif change == "revoked":
            origin = "agent"
    return origin


@pytest.mark.demand(28)
@given(st.lists(ACTS, min_size=1, max_size=12))
def test_only_a_users_act_makes_a_content_a_users(acts: list[Any]) -> None:
    found = folded(acts)
    assert found is not None and found.origin == expected(acts)
    assert found.tainted == any(tainted and author is AGENT for _, author, tainted in acts)


@pytest.mark.demand(28)
@given(st.lists(ACTS, min_size=1, max_size=8))
def test_an_agent_neither_promotes_nor_demotes_a_content(acts: list[Any]) -> None:
    before = folded(acts)
    assert before is not None
    for change in ("written", "removed", "renamed"):
        after = folded([*acts, (change, AGENT, True)])
        assert after is not None and after.origin == before.origin


async def test_live_index_and_journal_agree(tmp_path: Path) -> None:
    played = Played(tmp_path)
    acts = itertools.product(["a" * 64, "b" * 64], [("written", AGENT), ("accepted", USER), ("written", USER)])
    for digest in ("a" * 64, "b" * 64):
        await played.state.load_owner(MEMORY, digest)
    for digest, (change, author) in acts:
        played.state.append(ledger.entry(author, "memory/shared/a.md", digest, change))  # type: ignore[arg-type]
    live = {digest: played.state.get(Origin, digest) for digest in ("a" * 64, "b" * 64)}
    played.flush()
    reader = Reader(tmp_path / ".kheish" / "index.sqlite")
    kept = {d: streams.read(reader, nouns.NOUNS, f"{MEMORY}/{d}").tables[Origin][d] for d in live}
    portions = streams.changes_after(tmp_path, nouns.NOUNS, f"journals/{MEMORY}", 0, [], index=None, whole=True)
    journaled = {change.id: change.value for portion in portions for change in portion}
    assert kept == live == journaled and {one.origin for one in live.values()} == {"person"}
    played.index.close()
