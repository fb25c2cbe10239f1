"""Matchers that only a confined child may evaluate: an expression of a user can take exponential time."""

from __future__ import annotations

from collections.abc import Sequence

from kheish.domain.hooks import matching
from kheish.jobs import confined

_SECONDS = 1.0
_POOL = confined.Pool("matchers", size=1)


async def fits(matcher: str, subjects: Sequence[str]) -> bool:
    """Return whether a matcher means a subject. One that takes too long matches: a guard rather runs once too often."""
    if matching.decides_alone(matcher):
        return matching.matches(matcher, subjects)
    if not subjects:
        return True
    try:
        return bool(await _POOL.call(matching.search, matcher, list(subjects), seconds=_SECONDS))
    except (confined.Overdue, confined.Failed):
        return True
