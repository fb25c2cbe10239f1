"""What the time of a look-up could tell: the same steps for every text, known or not, and none that reads the text.

No clock is watched here (it would measure the machine): the steps are counted.
"""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from kheish.auth import digests
from kheish.auth.tokens import Token, Tokens


class Steps:
    """Notes what a look-up hashes and compares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[Any, ...]] = []
        keyed, compare = digests.Keyed._keyed, hmac.compare_digest

        def hashed(known: digests.Keyed[Any], digest: str) -> bytes:
            self.seen.append(("keyed", len(digest)))
            return keyed(known, digest)

        def compared(one: str, other: str) -> bool:
            self.seen.append(("compared", len(one), len(other)))
            return compare(one, other)

        monkeypatch.setattr(digests.Keyed, "_keyed", hashed)
        monkeypatch.setattr(digests.hmac, "compare_digest", compared)


def test_known_unknown_expired_and_mutilated_tokens_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    good, old = digests.new(), digests.new()
    card = {"role": "operator", "created_at": "2026-01-01T00:00:00.000000Z", "created_by": "token:local"}
    expired = Token(name="old", expires_at="2026-01-02T00:00:00.000000Z", digest=digests.of(old), **card)
    known = Tokens("kheish_local", (Token(name="good", digest=digests.of(good), **card), expired), clock=lambda: 2e9)
    steps = Steps(monkeypatch)
    asked = [good, old, digests.new(), good[:-1], good + "x", good[:-1] + "~", "", "x", "x" * 100_000, "\udcff", "ü"]

    found = [known.principal(text) for text in asked]

    assert [one.name if one else None for one in found] == ["token:good", *[None] * 10]
    assert steps.seen == [("keyed", 64), ("compared", 64, 64)] * len(asked)


def test_the_look_up_is_by_a_key_that_nobody_knows_and_that_is_new_each_time() -> None:
    """Who chooses digests with a common beginning learns nothing of how far two of them agree."""
    one, other = digests.Keyed[str](), digests.Keyed[str]()
    digest = digests.of("kheish_x")
    assert one._keyed(digest) != other._keyed(digest)
    assert digest.encode() not in one._keyed(digest) and one._keyed(digest) != bytes.fromhex(digest)


def test_the_text_that_stands_for_nobody_is_nobodys() -> None:
    known: digests.Keyed[str] = digests.Keyed()
    assert known.get("0" * 64) is None and known.pop("0" * 64) is None
