"""Checks a state root after quiet or stop, from its files and git alone: `check(root, acks, ledger)`.

It is independent on purpose: it shares no code with Kheish, and writes down the rules of the specification once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash import (
    arrivals,
    boards,
    effects,
    families,
    fires,
    histories,
    journals,
    memories,
    messages,
    outbox,
    pursuits,
    repository,
    rooms,
    stored,
    watched,
)
from tests.crash.journals import Entry, Finding

Acks = Mapping[str, Sequence[Mapping[str, Any]]]


def check(
    root: Path,
    acks: Acks | None = None,
    ledger: Path | None = None,
    people: Sequence[str] = (),
    since: str | None = None,
) -> list[Finding]:
    """What is wrong with a state root that is quiet; empty where nothing is.

    `acks`: what the daemon acknowledged, as `{"runs": [{"id", "session", "n"}], "sessions": …, "approvals": [{"id",
    "decision", "n"}], "questions": …}`. `ledger`: the file that commands `echo NAME >> ledger.txt` appended to, in
    the folder of the files that calls edited.
    `people`: beginnings of paths that may be changed and not committed. `since`: a commit up to which cuts were checked
    before.
    """
    found, findings = journals.read(root)
    findings += _rules(root, found, since)
    findings += histories.acknowledged(found, acks or {})
    findings += rooms.posts(found, acks or {})
    findings += boards.tasks(found, acks or {})
    findings += stored.assets(root, found, acks or {})
    findings += watched.observations(root, found, acks or {})
    findings += arrivals.receipts(found, acks or {})
    findings += repository.acknowledged(root, acks or {})
    if ledger is not None:
        findings += effects.ledger(found, ledger)
        findings += effects.edits(found, ledger.parent)
        findings += effects.bulk(root, found, ledger.parent)
    findings += repository.clean(root, people)
    return findings


def check_copy(root: Path) -> list[Finding]:
    """What is wrong with a clone of a state root that was made at any moment: all but what takes time to end."""
    found, findings = journals.read(root)
    findings += journals.numbering(found)
    findings += journals.spills(root, found)
    for rule in (histories.moves, histories.left_open, histories.order, effects.calls, fires.once):
        findings += rule(found)
    findings += rooms.turns(found, is_quiet=False)
    findings += boards.claims(found, is_quiet=False)
    findings += histories.records(root, found)
    findings += histories.pending(root, found)
    findings += repository.sound(root)
    findings += repository.whole(root, found)
    return findings


def _rules(root: Path, found: Mapping[str, list[Entry]], since: str | None) -> Iterator[Finding]:
    yield from journals.numbering(found)
    yield from journals.spills(root, found)
    for rule in (
        histories.moves, histories.unfinished, histories.left_open, histories.order, effects.calls, effects.tasks,
        messages.each, outbox.each, fires.once, fires.ended,
        families.families, pursuits.continuations, rooms.turns, boards.claims,
    ):  # fmt: skip
        yield from rule(found)
    yield from memories.memories(root, found)
    yield from histories.records(root, found)
    yield from histories.pending(root, found)
    yield from repository.sound(root)
    yield from repository.committed(root, found)
    yield from repository.cuts(root, found, since)
