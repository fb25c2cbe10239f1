"""Sums of usage by session, route, project and day; and over trees of agents: by each agent, and by all below it.

Everything comes from the index, so these functions block: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kheish.domain.agents.agent import Agent
from kheish.domain.budgets import Spend
from kheish.domain.nouns import BY_CLASS
from kheish.store.log.index import Reader

Row = dict[str, Any]

#: groups of agents: each by its own, or each tree as one
OF_AGENTS = frozenset({"agent", "root"})
_HEADS = ("session_id", "route", "project", "day", "playbook", "agent_id", "root")
_PLAIN = _HEADS[:5]
_COUNTED = ("model_calls", "input_tokens", "output_tokens", "cached_tokens")
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The usage that counts; None does not filter."""

    session: str | None = None
    route: str | None = None
    project: str | None = None
    day: str | None = None
    playbook: str | None = None


def sums(rows: Iterable[Mapping[str, Any]], by: tuple[str, ...]) -> list[Row]:
    """Return a row for each combination, in the order of their names; aggregated fields are null."""
    kept = {"session_id" if name == "session" else name for name in by}
    groups: dict[tuple[str, ...], Row] = {}
    for row in rows:
        head = {name: row[name] if name in kept else None for name in _PLAIN}
        _add(_group(groups, head, amounts=False), row)
    return [groups[key] for key in sorted(groups)]


def tree_sums(index: Reader, by: tuple[str, ...], kept: Filter) -> list[Row]:
    """Return a row for each agent or tree, and each session, route, project and day if they are asked for.

    The row of an agent has its own usage, with `own` and `subtree`; the row of a tree (`root` without `agent`) has that
    of the whole tree. With `session`, there is only the row of that session's agent.
    """
    session = kept.session
    agents = {doc["session_id"]: doc for doc in _agents(index, session)}
    parents = {doc["agent_id"]: doc for doc in agents.values()}
    groups: dict[tuple[str, ...], Row] = {}
    for session_id in agents if session is not None else (None,):
        for row in _spends(index, replace(kept, session=session_id)):
            agent = agents.get(row["session_id"])
            for above in _up(agent, parents) if agent is not None else ():
                if session is None or above["session_id"] == session:
                    _add_above(groups, by, row, agent=agent, above=above)
    return [groups[key] for key in sorted(groups)]


def _add_above(
    groups: dict[tuple[str, ...], Row], by: tuple[str, ...], row: Row, *, agent: Row | None, above: Row
) -> None:
    """Add the usage of an agent to the row of an agent above it, or to its own."""
    is_tree, is_own = "agent" not in by, above is agent
    if is_tree and above["parent"] is not None:
        return
    head = {
        "session_id": above["session_id"] if "session" in by else None,
        "route": row["route"] if "route" in by else None,
        "project": row["project"] if "project" in by else None,
        "day": row["day"] if "day" in by else None,
        "playbook": row["playbook"] if "playbook" in by else None,
        "agent_id": None if is_tree else above["agent_id"],
        "root": above["root"],
    }
    group = _group(groups, head, amounts=True)
    _add(group["subtree"], row)
    if is_own:
        _add(group["own"], row)
    if is_own or is_tree:
        _add(group, row)


def _up(agent: Row, by_id: Mapping[str, Row]) -> Iterator[Row]:
    """Yield an agent, and those above it."""
    above: Row | None = agent
    while above is not None:
        yield above
        above = by_id.get(above["parent"]) if above["parent"] is not None else None


def _group(groups: dict[tuple[str, ...], Row], head: Mapping[str, Any], *, amounts: bool) -> Row:
    key = tuple(value or "" for value in head.values())
    if key not in groups:
        both = {"own": _nothing(), "subtree": _nothing()} if amounts else {"own": None, "subtree": None}
        groups[key] = {**dict.fromkeys(_HEADS), **head, **_nothing(), **both}
    return groups[key]


def _nothing() -> Row:
    return {**dict.fromkeys(_COUNTED, 0), "cost_usd": None, "estimated": False}


def _add(sum_: Row, row: Mapping[str, Any]) -> None:
    for name in _COUNTED:
        sum_[name] += row[name]
    sum_["estimated"] = sum_["estimated"] or row["estimated"]
    if row["cost_usd"] is not None:
        sum_["cost_usd"] = (sum_["cost_usd"] or 0.0) + row["cost_usd"]


# --- reading ----------------------------------------------------------------------------------------------------------


def spends_page(index: Reader, kept: Filter, *, limit: int, cursor: str | None) -> tuple[list[Row], str | None]:
    """Return a page of usage by session, route, project and day, newest first, and the cursor of the next."""
    fields = {name: value for name in ("route", "project", "playbook") if (value := getattr(kept, name)) is not None}
    page = index.things(
        BY_CLASS[Spend].name,
        limit=limit,
        cursor=cursor,
        session=kept.session,
        statuses=(kept.day,) if kept.day is not None else (),
        fields=fields,
    )
    return [{**dict.fromkeys(_HEADS), **row, "own": None, "subtree": None} for row in page.items], page.next_cursor


def _spends(index: Reader, kept: Filter) -> Iterator[Row]:
    cursor: str | None = None
    while True:
        rows, cursor = spends_page(index, kept, limit=_PAGE, cursor=cursor)
        yield from rows
        if cursor is None:
            return


def all_sums(index: Reader, by: tuple[str, ...], kept: Filter) -> list[Row]:
    """Return the usage, grouped by fields."""
    if OF_AGENTS & set(by):
        return tree_sums(index, by, kept)
    return sums(_spends(index, kept), by)


def _agents(index: Reader, session: str | None) -> Iterator[Row]:
    """Yield the documents of agents; with a session, those of its tree."""
    noun, fields = BY_CLASS[Agent].name, {}
    if session is not None:
        page = index.things(noun, limit=1, session=session)
        if not page.items:
            return
        fields = {"root": page.items[0]["root"]}
    cursor: str | None = None
    while True:
        page = index.things(noun, limit=_PAGE, cursor=cursor, fields=fields)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
