"""Checks what journals tell of messages: each is before the model once, in its sender's order, or a dead letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.crash.journals import Entry, Finding

_ENDS = {"run.completed", "run.failed", "run.cancelled", "run.interrupted"}


def each(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Every message of a quiet state root came into one prompt, or is dead; those of a sender came in order."""
    for name, entries in journals.items():
        posted = [one for one in entries if one["kind"] == "message.posted"]
        if posted:
            yield from _of_session(name, entries, posted)


def _of_session(name: str, entries: list[Entry], posted: list[Entry]) -> Iterator[Finding]:
    started = {one["run"] for one in entries if one["kind"] == "run.started"}
    delivered = [one for one in entries if one["kind"] == "message.delivered"]
    places: dict[str, list[int]] = {}
    for at, one in enumerate(delivered):
        places.setdefault(one["data"]["message_id"], []).append(at)
        if one["run"] not in started:
            yield Finding("message_lost", name, f"{one['data']['message_id']} is in {one['run']}, which never started")
    dead = {one["data"]["message_id"] for one in entries if one["kind"] == "message.dead_lettered"}
    gone = {one["run"] for one in entries if one["kind"] in _ENDS} - started
    for one in entries:
        if one["kind"] == "run.submitted" and one["run"] in gone:
            dead |= set(one["data"].get("message_ids", ()))
    orders: dict[str, list[int]] = {}
    for entry in posted:
        id = entry["data"]["message_id"]
        count = len(places.get(id, ()))
        if count > 1:
            yield Finding("message_twice", name, f"{id} came into {count} prompts")
        elif count == 0 and id not in dead:
            yield Finding("message_lost", name, f"{id} came into no prompt")
        elif count:
            orders.setdefault(entry["data"]["sender"]["actor"], []).append(places[id][0])
    for sender, order in orders.items():
        if order != sorted(order):
            yield Finding("message_order", name, f"those of {sender} came as {order}")
