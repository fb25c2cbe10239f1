"""Streams that fold: the same values live, from the index, and from the journal alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kheish.domain import events, nouns
from kheish.domain.events.playbooks import RELEASES
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import Version
from kheish.errors import NotFound, Unavailable
from kheish.state import streams
from kheish.store.log.index import Reader
from tests.domain.playbooks.test_versions import WORD
from tests.support.stateful import Played

WHERE = f"journals/{RELEASES}"


async def filled(p: Played, owners: int = 3) -> None:
    for number in range(owners):
        await p.state.load_owner(RELEASES, f"p{number}")
    for version, number in ((version, number) for version in ("1.0.0", "1.1.0") for number in range(owners)):
        made = events.PlaybookPublished(
            playbook_id=f"p{number}", version=version, title="T", digest="d", tag="t", tag_id="i", commit="c"
        )
        playbooks.publish(p.state, made, by="ada")
        playbooks.release(p.state, f"p{number}", version, "verified", by="ada", evidence=[WORD])
        playbooks.release(p.state, f"p{number}", version, "active", by="ada")


def values(portions: Iterable[list[Any]]) -> dict[str, Version]:
    return {change.id: change.value for portion in portions for change in portion}


async def test_live_index_and_journal_agree(p: Played) -> None:
    await filled(p)
    live = {one.id: one for number in range(3) for one in playbooks.versions(p.state, f"p{number}").values()}
    p.flush()
    reader = Reader(p.root / ".kheish" / "index.sqlite")
    from_index = [
        one
        for number in range(3)
        for one in streams.read(reader, nouns.NOUNS, f"{RELEASES}/p{number}").tables[Version].values()
    ]
    assert {one.id: one for one in from_index} == live and len(live) == 6
    assert values(streams.changes_after(p.root, nouns.NOUNS, WHERE, 0, [], index=None, whole=True)) == live


async def test_an_index_that_is_behind_takes_only_what_it_lacks(p: Played) -> None:
    await filled(p)
    p.flush()
    known, n = len(p.lines), p.state.n
    playbooks.release(p.state, "p1", "1.0.0", "revoked", by="ada")
    live = playbooks.get(p.state, "p1", "1.0.0")
    [group] = p.groups
    reader = Reader(p.root / ".kheish" / "index.sqlite")
    logged = [entry.line for entry in p.state.waiting.entries if entry.entry.n > n]
    import orjson

    lines = [*(line for line in p.lines if line.get("stream") == RELEASES), *map(orjson.loads, logged)]
    assert group.last == n + 1 and len(lines) == known - 1 + 1  # the session's own entry is in no stream
    for whole in (False, True):
        found = streams.changes_after(p.root, nouns.NOUNS, WHERE, n, lines, index=reader, whole=whole)
        assert values(found) == {"p1@1.0.0": live}


async def test_owners_are_loaded_when_needed_and_let_go_of(p: Played, tmp_path: Path) -> None:
    await filled(p, 2)
    p.flush()
    again = p.restart()
    with pytest.raises(NotFound, match="not loaded"):
        again.state.append(events.PlaybookIntact(playbook_id="p0", version="1.0.0").on())
    await again.state.load_owner(RELEASES, "p0")
    assert list(again.state.owners) == [f"{RELEASES}/p0"]
    assert again.state.get(Version, "p0@1.1.0").state == "active" and again.state.find(Version, "p1@1.1.0") is None
    again.state.owners[f"{RELEASES}/p0"].used -= 60
    again.state.evict(limit=0)
    assert not again.state.owners and again.state.find(Version, "p0@1.1.0") is None
    await again.state.load_owner(RELEASES, "p0")
    assert playbooks.versions(again.state, "p0") == playbooks.versions(p.state, "p0")
    again.index.close()


async def test_an_owner_with_a_session_s_name_is_no_session(p: Played) -> None:
    await p.state.load_owner(RELEASES, "s")
    made = events.PlaybookPublished(
        playbook_id="s", version="1.0.0", title="T", digest="d", tag="t", tag_id="i", commit="c"
    )
    playbooks.publish(p.state, made, by="ada")
    p.flush()
    p.index.forget("s")
    assert streams.read(Reader(p.root / ".kheish" / "index.sqlite"), nouns.NOUNS, f"{RELEASES}/s").tables[Version]
    assert "releases/s" not in p.state.sessions and "releases/s" not in p.state.touched


async def test_an_index_that_is_made_again_is_no_proof_that_there_is_nothing(p: Played) -> None:
    await filled(p, 1)
    p.flush()
    p.state.owners.clear()
    p.index.create()
    with pytest.raises(Unavailable):
        await p.state.load_owner(RELEASES, "p0")
    p.index.set("whole", 1)
    await p.state.load_owner(RELEASES, "p0")
    assert playbooks.versions(p.state, "p0") == {}
