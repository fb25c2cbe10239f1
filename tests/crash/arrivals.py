"""Requests of a connector in the campaign, and their rules: each acknowledged one is one run, whatever is repeated.

Shares no code with Kheish.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries

Send = Callable[..., tuple[int, dict[str, Any], int]]
NAME = "arrivals"
_SECRET = "a-secret-of-the-campaign-0123456789"
#: the header that proves a request
PROOF = {"authorization": f"Bearer {_SECRET}"}
FILE: dict[str, Any] = {
    "kind": "http", "verify": {"scheme": "bearer", "secret": NAME}, "session": {"key": "arrivals:{lane}"},
    "map": {"content": "text", "idempotency": "id"}, "target": {"input": {"route": "told"}}, "rate": "10000/s",
}  # fmt: skip


def set_up(send: Send) -> None:
    """Create the secret and the connector."""
    if send("GET", f"/v1/secrets/{NAME}")[0] == 404:
        send("PUT", f"/v1/secrets/{NAME}", {"value": _SECRET})
    send("PUT", f"/v1/connectors/{NAME}", FILE)


def body(number: int) -> dict[str, Any]:
    """Return the body of a request."""
    return {"id": f"event.{number}", "lane": number % 5, "text": f"arrival {number}"}


def deliver(send: Send, acknowledge: Callable[..., None], given: dict[str, Any]) -> None:
    """Send a request; a repeated one answers the same ids."""
    status, said, n = send("POST", f"/v1/ingress/{NAME}", given, headers=PROOF)
    if status == 202:
        acknowledge("receipts", said["receipt_id"], n, run=said["run_id"], key=given["id"])


def receipts(journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """Each key has one receipt, each receipt one run, each conversation one session; acknowledged ids stay."""
    known: dict[str, Mapping[str, Any]] = {}
    keys, bound, runs = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for entry in all_entries(journals):
        data = entry["data"]
        match entry["kind"]:
            case "ingress.received":
                known[data["receipt_id"]] = data
                keys.update(data["keys"])
            case "session.bound":
                bound[data["key"]] += 1
            case "run.submitted" if data["request"]["metadata"].get("connector") == NAME:
                runs[str(data["request"]["metadata"]["receipt_id"]), str(entry["run"])] += 1
    for what, counts in (("arrival_twice", keys), ("bound_twice", bound)):
        yield from (Finding(what, key, f"{count} entries") for key, count in counts.items() if count > 1)
    expected = Counter({(id, str(data["run_id"])): 1 for id, data in known.items()})
    for id, run in (expected - runs) | (runs - expected):
        yield Finding("arrival_run", id, f"the run {run} is there {runs[id, run]} times")
    for ack in acks.get("receipts", ()):
        found = known.get(ack["id"])
        if found is None or found["run_id"] != ack["run"] or list(found["keys"]) != [ack["key"]]:
            yield Finding("acknowledged", str(ack["id"]), f"it was acknowledged as {ack}; there is {found}")
