"""Comparison of what happened between two answers of a model, then and now, without ids, times and places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: the kinds of entries that are compared: they are what the model reads, and what was decided
KINDS = (
    "run.submitted", "permission.decided", "tool.finished", "run.nudged", "message.delivered", "completion.checked",
    "skill.loaded", "hooks.ran",
)  # fmt: skip
_ID = re.compile(r"\b([a-z]{1,20})_[0-9a-hjkmnp-tv-z]{26}\b")
_TIME = re.compile(
    r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
_AROUND, _SHOWN = 40, 160


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened: `what` identifies it within a turn, `value` is compared."""

    what: str
    value: str


def facts(lines: Iterable[Mapping[str, Any]], places: Sequence[str] = ()) -> list[Fact]:
    """Return the facts of journal lines, whose payloads are in full. `places` are folders that differ by nature."""
    found: list[Fact] = []
    counts: dict[str, int] = {}
    for line in lines:
        fact = _fact(line["kind"], line["data"])
        if fact is None:
            continue
        what, value = fact
        counts[what] = counts.get(what, 0) + 1
        name = what if counts[what] == 1 else f"{what} (number {counts[what]})"
        found.append(Fact(name, neutral(value, places)))
    return found


def _fact(kind: str, data: Mapping[str, Any]) -> tuple[str, str] | None:
    match kind:
        case "run.submitted":
            return "the task", _texts(data["request"]["items"])
        case "permission.decided":
            return f"the permission of {data['tool']} ({data['call_id']})", data["decision"]
        case "tool.finished":
            failed = "error: " if data["is_error"] else ""
            return f"the result of {data['tool']} ({data['call_id']})", failed + str(data["content"])
        case "run.nudged":
            return "the daemon's message", data["text"]
        case "message.delivered":
            return "a delivered message", _texts(data["items"])
        case "completion.checked":
            return "the completion check", json.dumps([[one.get("number"), one.get("met")] for one in data["findings"]])
        case "skill.loaded":
            return "a skill", str(data.get("text"))
        case "hooks.ran":
            return f"the hooks of {data['event']}", str(data.get("decision"))
    return None


def _texts(items: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join(str(item.get("text") or item.get("asset_id") or "") for item in items)


def neutral(text: str, places: Sequence[str]) -> str:
    """Return a text without the parts that differ in each run."""
    for place in places:
        text = text.replace(place, "{workspace}")
    return _TIME.sub("{time}", _ID.sub(r"\1_{id}", text))


def difference(turn: int, recorded: Sequence[Fact], now: Sequence[Fact]) -> str | None:
    """Return the first difference in a sentence, with its turn; None if there is none.

    Results of calls that ran at the same time may come in any order.
    """
    theirs, ours = ({fact.what: fact.value for fact in side} for side in (recorded, now))
    for what in [*theirs, *(what for what in ours if what not in theirs)]:
        if what not in ours:
            return f"Turn {turn}: {what} is missing; recorded was {_excerpt(theirs[what], 0)}."
        if what not in theirs:
            return f"Turn {turn}: {what} is new: {_excerpt(ours[what], 0)}."
        if theirs[what] != ours[what]:
            start = _parts_at(theirs[what], ours[what])
            return (
                f"Turn {turn}: {what} differs: recorded was {_excerpt(theirs[what], start)}, "
                f"and now it is {_excerpt(ours[what], start)}."
            )
    return None


def _parts_at(one: str, other: str) -> int:
    """Return the place of the first character that differs."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def _excerpt(text: str, start: int) -> str:
    begin = max(0, start - _AROUND)
    shown = text[begin : begin + _SHOWN]
    return repr(("…" if begin else "") + shown + ("…" if begin + _SHOWN < len(text) else ""))
