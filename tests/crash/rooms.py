"""A channel in the campaign, and its rules: each decision about turns is that of a model in other words, and each
message is there once. Shares no code with Kheish."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries
from tests.domain.channels.model import History, Member, Rules

ROOM = "room"
#: the sessions of its agents
SPEAKERS = ("speaks-1", "speaks-2", "speaks-3")
ROUTE = "speaks"
#: posts a message in its turn
TURNS: list[dict[str, Any]] = [
    {"tool_calls": [{"name": "post_to_channel", "arguments": {"text": "I have seen it."}}]},
    {"text": "done"},
]
_POLICY: dict[str, Any] = {"speakers": 2, "replies": 2, "cooldown": "0s", "lease": "60s", "posts_per_hour": 1000}
FILE: dict[str, Any] = {
    "members": [{"member": name, "kind": "agent", "session": name} for name in SPEAKERS],
    "policy": _POLICY,
}
_JOURNAL = f"journals/channels/{ROOM}"
Send = Callable[..., tuple[int, dict[str, Any], int]]


def furnish(send: Send, acknowledge: Callable[[str, str, int], None]) -> None:
    """Have the channel and its agents; a daemon that is killed meanwhile has them in its next life."""
    for name in SPEAKERS:
        status, said, n = send("POST", "/v1/sessions", {"session_id": name, "route": ROUTE})
        if status == 201:
            acknowledge("sessions", said["session_id"], n)
    send("PUT", f"/v1/channels/{ROOM}", FILE)


def has_open_turns(send: Send) -> bool:
    """Whether an agent has a turn, or waits for one."""
    send("POST", f"/v1/channels/{ROOM}/resume", {})  # so many messages may have paused it
    _, said, _ = send("GET", f"/v1/channels/{ROOM}/threads?limit=200")
    return any(one["floor"] is not None or one["holders"] for one in said.get("items", ()))


def turns(journals: Mapping[str, list[Entry]], *, is_quiet: bool = True) -> Iterator[Finding]:
    """Turns are granted to whom the model grants them, each once with its run; where it is quiet, all have ended."""
    members = [Member(name, name, "prefer_selected", False) for name in SPEAKERS]
    history = History(Rules(members, _POLICY["speakers"], _POLICY["replies"], 0.0, 60.0, _POLICY["posts_per_hour"]))
    granted: dict[str, str] = {}
    runs: Counter[str] = Counter()
    for entry in sorted(all_entries(_of_room(journals)), key=lambda one: one["n"]):
        history.add(entry)
        if entry["kind"] == "channel.turn_granted":
            granted[entry["data"]["turn_id"]] = entry["data"]["run_id"]
        elif entry["kind"] == "run.submitted":
            runs[entry["run"]] += 1
    if is_quiet:
        history.quiet(0.0)
    for fault in history.faults:
        yield Finding("turns", ROOM, fault)
    for turn, run in granted.items():
        if runs[run] != 1:
            yield Finding("turn_run", turn, f"{runs[run]} runs")


def _of_room(journals: Mapping[str, list[Entry]]) -> dict[str, list[Entry]]:
    return {
        name: entries
        for name, entries in journals.items()
        if name.startswith(_JOURNAL) or any(f"/{one}/" in name for one in SPEAKERS)
    }


def posts(journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """No message is there twice, and none that was acknowledged is lost."""
    found: Counter[str] = Counter()
    for entry in all_entries(journals):
        if entry["kind"] == "channel.posted":
            found[entry["data"]["post"]["message_id"]] += 1
    for id, count in found.items():
        if count > 1:
            yield Finding("post_twice", id, f"{count} times")
    for one in acks.get("posts", ()):
        if not found[one["id"]]:
            yield Finding("post_lost", str(one["id"]), "it was acknowledged")
