"""Deliveries to a receiver that outlives the daemon, and their rules: none is lost, none is made twice, and one that
arrived twice says that its end was unknown. Shares no code with Kheish."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries
from tests.support.receiver import Got, Reply, receive

NAME = "outbox"
TARGETS = [{"output": NAME}]
OPEN = ("pending", "delivering", "retrying")
_ENDS = frozenset({"delivery.delivered", "delivery.died", "delivery.held", "delivery.resolved"})


class Outbox:
    """The receiver; it fails now and then, and drops answers."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.receiver = self._stack.enter_context(receive(self._answer))
        self.arrived: Counter[str] = Counter()  # accepted, though the answer may have been lost

    def close(self) -> None:
        self._stack.close()

    def _answer(self, got: Got) -> Reply:
        id = got.headers["webhook-id"]
        tries = sum(one.headers["webhook-id"] == id for one in self.receiver.got[-50:])
        fate = hashlib.sha256(f"{id} {tries}".encode()).digest()[0]
        if fate < 25:
            return Reply(503)
        self.arrived[id] += 1
        return Reply(drop=True) if fate < 35 else Reply(204)

    def findings(self, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
        """What the journals say and the receiver does not know, and what it got twice."""
        delivered, unclear = set(), set()
        for entry in all_entries(journals):
            if entry["kind"] == "delivery.delivered":
                delivered.add(entry["data"]["delivery_id"])
            elif entry["kind"] == "delivery.delayed" and entry["data"]["unknown_end"]:
                unclear.add(entry["data"]["delivery_id"])
        for id in sorted(delivered - self.arrived.keys()):
            yield Finding("delivery_lost", id, "it was delivered, and never arrived")
        for id, count in sorted(self.arrived.items()):
            if count > 1 and id not in unclear:
                yield Finding("delivery_doubled", id, f"it arrived {count} times, and no end was unknown")


def set_up(send: Callable[..., tuple[int, dict[str, Any], int]], url: str) -> bool:
    """Have the output in force; whether it is."""
    retry = {"max": "1s", "give_up": "24h"}
    return send("PUT", f"/v1/outputs/{NAME}", {"kind": "http", "url": f"{url}/in", "retry": retry})[0] in (200, 201)


def has_open(send: Callable[..., tuple[int, dict[str, Any], int]]) -> bool:
    """Whether a delivery is under way."""
    return bool(send("GET", f"/v1/deliveries?limit=1&state={','.join(OPEN)}")[1].get("items"))


def each(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Each output of a run with targets has one delivery for each, which begins before it ends, and ends once."""
    targets: dict[str, int] = {}
    outputs: dict[str, int] = {}
    made: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for entry in all_entries(journals):
        data, kind = entry["data"], entry["kind"]
        if kind == "run.submitted":
            targets[str(entry["run"])] = len(data["settings"].get("reply_targets", ()))
        elif kind == "output.emitted" and targets.get(str(entry["run"])):
            outputs[data["output_id"]] = targets[str(entry["run"])]
        elif kind == "delivery.created":
            made[data["output_id"]] += 1
            ended[data["delivery_id"]] += 0
        elif kind in _ENDS:
            ended[data["delivery_id"]] += 1
    for id in outputs.keys() | made.keys():
        if outputs.get(id, 0) != made[id]:
            yield Finding("delivery_lost", id, f"{outputs.get(id, 0)} targets, {made[id]} deliveries")
    for id, count in ended.items():
        if count != 1:
            yield Finding("delivery_lost" if count == 0 else "delivery_doubled", id, f"it ended {count} times")
