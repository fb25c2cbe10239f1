"""The upload token of a source: rotated with a grace time for the old one, and revoked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kheish import ids
from kheish.auth import digests
from kheish.auth.tokens import Token, Tokens
from kheish.domain import events
from kheish.errors import NotFound
from kheish.state.state import State

OLD = ".previous"


def name_of(source: str) -> str:
    """Return the name of a source's token, to which its uploads are attributed."""
    return f"source.{source}"


def view(tokens: Tokens, source: str) -> dict[str, Any] | None:
    """Return the facts about a source's token; None if it has none."""
    name = name_of(source)
    if name not in tokens:
        return None
    old = tokens.get(name + OLD) if name + OLD in tokens else None
    new = tokens.get(name)
    return {
        "created_at": new.created_at,
        "created_by": new.created_by,
        "previous_until": old.expires_at if old is not None else None,
    }


def rotate(state: State, tokens: Tokens, source: str, grace: float, *, by: str) -> tuple[Token, str]:
    """Create the token of a source and return it with its text, which is shown only now; the one before is valid for
    the grace time."""
    name, role, now = name_of(source), f"observer:{source}", state.clock()
    text = digests.new()
    made = Token(name=name, role=role, created_at=ids.stamp(now), created_by=by, digest=digests.of(text))
    state.append(events.TokenChanged(name=name, role=role, change="created").on(by=by))
    if name in tokens:
        before = tokens.get(name)
        if name + OLD in tokens:
            tokens.drop(name + OLD)
        tokens.drop(name)
        if grace > 0:
            tokens.put(replace(before, name=name + OLD, expires_at=ids.stamp(now + grace)))
    tokens.put(made)
    return made, text


def revoke(state: State, tokens: Tokens, source: str, *, by: str) -> None:
    """Revoke the tokens of a source at once. Raises NotFound if it has none."""
    names = [name for name in (name_of(source), name_of(source) + OLD) if name in tokens]
    if not names:
        raise NotFound(f"The source {source!r} has no token of its own; other tokens: kheish tokens list.")
    role = f"observer:{source}"
    state.append(*(events.TokenChanged(name=name, role=role, change="revoked").on(by=by) for name in names))
    for name in names:
        tokens.drop(name)
