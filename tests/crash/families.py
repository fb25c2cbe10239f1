"""Checks trees of agents: each child is in its parent's journal once, has ended, and left no waiter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tests.crash.journals import Entry, Finding, all_entries


def families(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Each child was spawned once, in both journals; its end was recorded in both; each wait has ended."""
    entries = list(all_entries(journals))
    spawned = Counter(one["data"]["agent_id"] for one in entries if one["kind"] == "agent.child_spawned")
    paths = Counter((one["data"]["parent"], one["data"]["name"]) for one in entries if one["kind"] == "agent.spawned")
    for agent, count in spawned.items():
        if count > 1:
            yield Finding("spawned_twice", agent, f"{count} times")
    for (parent, name), count in paths.items():
        if count > 1:
            yield Finding("sibling_twice", parent, f"{name}: {count} times")
    if sum(paths.values()) != len(spawned):
        yield Finding(
            "half_spawned", "all", f"{sum(paths.values())} children, {len(spawned)} in their parents' journals"
        )
    for name, mine in journals.items():
        yield from _family(name, mine)


def _family(name: str, entries: list[Entry]) -> Iterator[Finding]:
    live: Counter[str] = Counter()
    waits: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        data = entry["data"]
        match entry["kind"]:
            case "agent.child_spawned" | "agent.child_resumed":
                live[data["agent_id"]] += 1
            case "agent.child_settled":
                live[data["agent_id"]] -= 1
            case "agent.wait_opened":
                waits[entry["run"], data["call_id"]] += 1
            case "agent.wait_ended":
                waits[entry["run"], data["call_id"]] -= 1
            case "run.completed" | "run.failed" | "run.cancelled" | "run.interrupted":
                waits = Counter({key: count for key, count in waits.items() if key[0] != entry["run"]})
    for agent, count in live.items():
        if count:
            yield Finding("child_open", name, f"{agent} has {count} beginnings without an end")
    for (run, call), count in waits.items():
        if count:
            yield Finding("waiter_left", name, f"{run} {call}")
