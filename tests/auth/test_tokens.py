"""Tokens."""

from __future__ import annotations

from kheish.auth.tokens import Tokens


def test_only_the_whole_token_is_somebodys() -> None:
    tokens = Tokens("kheish_abc")

    found = tokens.principal("kheish_abc")

    assert found is not None
    assert (found.name, found.role) == ("token:local", "admin")
    for wrong in ("", "kheish_ab", "kheish_abcd", "KHEISH_ABC", "kheish_abc\n", "\udcff"):
        assert tokens.principal(wrong) is None


def test_the_token_itself_is_not_kept() -> None:
    assert "kheish_abc" not in repr(vars(Tokens("kheish_abc")))
