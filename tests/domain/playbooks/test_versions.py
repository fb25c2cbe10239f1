"""Versions and releases: only the moves of the table, one active at most, and a start finds its version."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kheish.domain import events
from kheish.domain.events.playbooks import RELEASES, EvidenceRef
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import MOVES, Version
from kheish.errors import (
    EvidenceRequired,
    Invalid,
    NoActiveVersion,
    NotFound,
    ReleaseStateConflict,
    VersionNotStartable,
    VersionTampered,
)
from tests.support.stateful import Played

STATES = tuple(MOVES)
WORD = EvidenceRef(kind="attestation", id="ada", description="I read it")


def published(p: Played, *versions: str, id: str = "triage") -> None:
    asyncio.run(p.state.load_owner(RELEASES, id))
    for version in versions:
        made = events.PlaybookPublished(
            playbook_id=id, version=version, title="T", digest="d" * 64, tag=playbooks.tag_of(id, version),
            tag_id="1" * 40, commit="2" * 40,
        )  # fmt: skip
        playbooks.publish(p.state, made, by="token:ada")


def release(p: Played, version: str, to: Any, **more: Any) -> Version:
    given = {"evidence": (WORD,)} if to == "verified" else {}
    given |= {"percent": 20.0} if to == "canary" else {}
    return playbooks.release(p.state, "triage", version, to, by="token:ada", **{**given, **more})


def brought_to(p: Played, state: str) -> None:
    for step in {"canary": ("verified", "canary"), "active": ("verified", "active")}.get(state, (state,)):
        if step != "published":
            release(p, "1.0.0", step)


@pytest.mark.parametrize(("before", "to"), list(product(STATES, STATES)))
def test_only_the_moves_of_the_table_are_legal(p: Played, before: str, to: str) -> None:
    published(p, "1.0.0")
    brought_to(p, before)
    if to in MOVES[before]:
        assert release(p, "1.0.0", to).state == to
        return
    n = p.state.n
    with pytest.raises(ReleaseStateConflict) as refused:
        release(p, "1.0.0", to)
    assert refused.value.extra == {"state": before, "wanted": to} and p.state.n == n


def test_evidence_is_needed_once(p: Played) -> None:
    published(p, "1.0.0")
    with pytest.raises(EvidenceRequired):
        release(p, "1.0.0", "verified", evidence=())
    one = release(p, "1.0.0", "verified")
    assert one.evidence[0].id == "ada" and one.evidence[0].at is not None
    assert release(p, "1.0.0", "active").evidence == one.evidence


def test_activating_moves_the_former_to_verified_in_one_group(p: Played) -> None:
    published(p, "1.0.0", "1.1.0")
    for version in ("1.0.0", "1.1.0"):
        release(p, version, "verified")
    release(p, "1.0.0", "active")
    p.flush()
    release(p, "1.1.0", "active")
    assert len(p.groups) == 1
    states = {one.version: one.state for one in playbooks.versions(p.state, "triage").values()}
    assert states == {"1.0.0": "verified", "1.1.0": "active"}


@pytest.mark.parametrize("percent", [None, 0, -1, 100.5])
def test_a_canary_needs_a_percent(p: Played, percent: float | None) -> None:
    published(p, "1.0.0")
    release(p, "1.0.0", "verified")
    with pytest.raises(Invalid):
        release(p, "1.0.0", "canary", percent=percent)
    assert release(p, "1.0.0", "canary", percent=5).percent == 5
    assert release(p, "1.0.0", "canary", percent=50).percent == 50  # another percent is no move
    assert release(p, "1.0.0", "active").percent is None


def test_starts_go_to_the_canary_by_the_hash_of_their_id(p: Played) -> None:
    published(p, "1.0.0", "1.1.0")
    for version, state in (("1.0.0", "active"), ("1.1.0", "canary")):
        release(p, version, "verified")
        release(p, version, state)
    ids = [f"flow_{number:06}" for number in range(5000)]
    taken = [playbooks.resolve(p.state, "triage", None, id).version for id in ids]
    assert taken == [playbooks.resolve(p.state, "triage", None, id).version for id in ids]
    assert 0.17 < taken.count("1.1.0") / len(taken) < 0.23
    release(p, "1.1.0", "revoked")
    assert {playbooks.resolve(p.state, "triage", None, id).version for id in ids[:100]} == {"1.0.0"}


def test_what_cannot_be_started_says_why(p: Played) -> None:
    published(p, "1.0.0", "2.0.0")
    with pytest.raises(NoActiveVersion, match=r"1\.0\.0 is published"):
        playbooks.resolve(p.state, "triage", None, "flow_1")
    with pytest.raises(VersionNotStartable, match="not verified"):
        playbooks.resolve(p.state, "triage", "1.0.0", "flow_1")
    with pytest.raises(NotFound, match=r"published: 1\.0\.0, 2\.0\.0"):
        playbooks.resolve(p.state, "triage", "3.0.0", "flow_1")
    release(p, "1.0.0", "verified")
    assert playbooks.resolve(p.state, "triage", "1.0.0", "flow_1").version == "1.0.0"
    release(p, "1.0.0", "active")
    p.state.append(events.PlaybookTampered(playbook_id="triage", version="1.0.0", reason="moved").on())
    for version in (None, "1.0.0"):
        with pytest.raises(VersionTampered):
            playbooks.resolve(p.state, "triage", version, "flow_1")
    with pytest.raises(VersionTampered):
        release(p, "1.0.0", "verified", evidence=())
    assert release(p, "1.0.0", "revoked").shown_state == "tampered"


@pytest.mark.parametrize("text", ["1.0.0", "0.1.10-rc.1+b.7", "1.0.0-alpha-x"])
def test_semantic_versions_are_taken(text: str) -> None:
    assert playbooks.check_version(text) == text


@pytest.mark.parametrize(
    "text", ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0\n", "1.0.0-x.lock", "1.0.0/../x", "\u0661.0.0"]
)
def test_others_are_not(text: str) -> None:
    with pytest.raises(Invalid):
        playbooks.check_version(text)


class Releases(RuleBasedStateMachine):
    """Any order of publishing, releasing, tampering and restarting."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.p = Played(Path(self.folder.name))
        self.count = 0

    @rule()
    def publish(self) -> None:
        self.count += 1
        published(self.p, f"{self.count}.0.0")

    @precondition(lambda self: self.count)
    @rule(number=st.integers(1, 5), to=st.sampled_from(STATES), percent=st.sampled_from([None, 10.0, 60.0]))
    def release(self, number: int, to: str, percent: float | None) -> None:
        version = f"{min(number, self.count)}.0.0"
        before = playbooks.get(self.p.state, "triage", version)
        given = {"evidence": (WORD,)} if to == "verified" else {}
        try:
            one = playbooks.release(self.p.state, "triage", version, to, by="ada", percent=percent, **given)  # type: ignore[arg-type]
        except ReleaseStateConflict:
            assert to not in MOVES[before.state]
        except (Invalid, VersionTampered):
            assert playbooks.get(self.p.state, "triage", version) == before
        else:
            assert one.state == to and (to in MOVES[before.state] or to == before.state == "canary")
            assert to in ("published", "revoked") or one.evidence

    @precondition(lambda self: self.count)
    @rule(number=st.integers(1, 5))
    def tamper(self, number: int) -> None:
        name = {"playbook_id": "triage", "version": f"{min(number, self.count)}.0.0"}
        is_wrong = playbooks.get(self.p.state, "triage", name["version"]).tampered is not None
        event = events.PlaybookIntact(**name) if is_wrong else events.PlaybookTampered(**name, reason="moved")
        self.p.state.append(event.on())

    @precondition(lambda self: self.count)
    @rule()
    def restart(self) -> None:
        before = playbooks.versions(self.p.state, "triage")
        old, self.p = self.p, self.p.restart()
        old.index.close()
        asyncio.run(self.p.state.load_owner(RELEASES, "triage"))
        assert playbooks.versions(self.p.state, "triage") == before

    @invariant()
    def one_is_active_at_most(self) -> None:
        known = playbooks.versions(self.p.state, "triage").values() if self.count else ()
        assert sum(one.state == "active" for one in known) <= 1
        assert sum(one.percent or 0 for one in known if one.state == "canary") <= 100

    def teardown(self) -> None:
        self.p.index.close()
        self.folder.cleanup()


TestReleases = Releases.TestCase
TestReleases.settings = settings(stateful_step_count=15)
