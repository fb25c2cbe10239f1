"""Names of past moments: a commit, tag or branch, `@{time}`, an event number, `seq:N`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from kheish.errors import Invalid

#: the names of commits in git; searches (`:/text`, `^{/text}`) read all of history, and are excluded
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+~^{}@-]*\Z")
_NUMBER = re.compile(r"(?:n:)?([0-9]{1,18})\Z")
_SEQ = re.compile(r"seq:([0-9]{1,18})\Z")
_TIME = re.compile(r"@\{(.+)\}\Z")
_LONGEST = 200
FORMS = "a commit, a tag, an event number (n:90412) or a time (@{2026-11-22T12:00:00Z})"


@dataclass(frozen=True, slots=True)
class Event:
    """The moment after event `n`."""

    n: int


@dataclass(frozen=True, slots=True)
class Seq:
    """The moment after entry `seq` of a session's journal."""

    seq: int


@dataclass(frozen=True, slots=True)
class Time:
    """A time, in seconds since the epoch."""

    time: float


@dataclass(frozen=True, slots=True)
class Name:
    """A name that git resolves."""

    name: str


Revision = Event | Seq | Time | Name


def parse(text: str) -> Revision:
    """Return the moment that `text` names. Digits alone are an event number; if there is no such event, try them as a
    `Name`.

    Raises Invalid.
    """
    if match := _SEQ.match(text):
        return Seq(int(match[1]))
    if match := _NUMBER.match(text):
        return Event(int(match[1]))
    if match := _TIME.match(text):
        return Time(_time(match[1]))
    if len(text) > _LONGEST or not _NAME.match(text) or "^{/" in text or "@{" in text or ".." in text:
        raise Invalid(f"{text[:_LONGEST]!r} is not a valid moment; write {FORMS}.")
    return Name(text)


def _time(text: str) -> float:
    """Return seconds since the epoch; a time without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid(
            f"@{{{text}}} is not a valid time; write @{{2026-11-22T12:00:00Z}} or @{{2026-11-22}}."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True)
class Moment:
    """A commit of the daemon's branch, or another, with the highest event that it holds. `n` may be lower if an event
    was requested. `time` is the commit's, in seconds since the epoch."""

    commit: str
    n: int
    time: int
