"""Checks what journals tell of runs: legal moves, order, answers, and what was acknowledged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.crash.journals import Entry, Finding, all_entries, by_run

FINAL = {"completed", "failed", "cancelled", "interrupted"}
WAITING = {"waiting_for_approval", "waiting_for_question", "waiting_for_agent"}
ENDS = {f"run.{status}" for status in FINAL}
#: (status, kind of entry) → the status that follows; `run.waiting` names its own
MOVES: dict[tuple[str | None, str], str] = {
    (None, "run.submitted"): "queued",
    ("queued", "run.started"): "running",
    ("queued", "run.resumed"): "running",
    ("queued", "run.failed"): "failed",
    ("queued", "run.cancelled"): "cancelled",
    ("running", "run.resumed"): "running",
    ("running", "run.completed"): "completed",
    **{("running", f"run.{end}"): end for end in FINAL},
    **{(one, "run.requeued"): "queued" for one in WAITING},
    **{(one, f"run.{end}"): end for one in WAITING for end in ("failed", "cancelled", "interrupted")},
}
#: entries that only a running run makes
WORK = re.compile(r"model\.|tool\.started|permission\.|approval\.requested|question\.asked")


def status_of(entries: Sequence[Entry]) -> str | None:
    """Where the entries of one run lead, as far as they are legal."""
    status: str | None = None
    for entry in entries:
        status = _moved(status, entry) or status
    return status


def _moved(status: str | None, entry: Entry) -> str | None:
    if entry["kind"] == "run.waiting":
        target = entry["data"]["status"]
        return target if status == "running" and target in WAITING else None
    return MOVES.get((status, entry["kind"]))


def _is_move(kind: str) -> bool:
    return kind == "run.waiting" or any(kind == one for _, one in MOVES)


def moves(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Every run makes only legal moves, and does its work only while it runs."""
    for run, entries in by_run(journals).items():
        status: str | None = None
        started = False
        for entry in entries:
            where = f"{run} n {entry['n']}"
            kind = entry["kind"]
            if _is_move(kind):
                after = _moved(status, entry)
                if (
                    after is None
                    or (kind == "run.started" and started)
                    or (kind == "run.resumed" and status == "queued" and not started)
                ):
                    yield Finding("illegal_move", where, f"{kind} from {status}")
                started = started or kind == "run.started"
                status = after or status
            elif WORK.match(kind) and status != "running":
                yield Finding("work_outside", where, f"{kind} while {status}")


def unfinished(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """A run that has not ended waits for a person, with an open request."""
    for run, entries in by_run(journals).items():
        status = status_of(entries)
        if status in FINAL:
            continue
        if status not in WAITING:
            yield Finding("stuck", run, f"it is {status}, and nothing is going on")
        elif not open_requests(entries):
            yield Finding("stuck", run, f"it is {status}, and no approval or question is open")


def open_requests(entries: Sequence[Entry]) -> set[str]:
    """Approvals and questions of a run that nobody has answered."""
    asked = {_id(one) for one in entries if one["kind"] in ("approval.requested", "question.asked")}
    return asked - {_id(one) for one in entries if one["kind"] in ("approval.resolved", "question.answered")}


def _id(entry: Entry) -> str:
    return str(entry["data"].get("approval_id") or entry["data"].get("question_id"))


def _proposals(entries: Sequence[Entry]) -> set[str]:
    """Proposals of a run that nobody has decided; they outlast the run."""
    found = {kind: {one["data"]["proposal_id"] for one in entries if one["kind"] == f"memory.{kind}"}
             for kind in ("proposed", "decided")}  # fmt: skip
    return found["proposed"] - found["decided"]


def left_open(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """What ended leaves no request open; nothing is answered twice, or without having been asked."""
    for run, entries in by_run(journals).items():
        asked: set[str] = set()
        answered: Counter[str] = Counter()
        for entry in entries:
            if entry["kind"] in ("approval.requested", "question.asked"):
                asked.add(_id(entry))
            elif entry["kind"] in ("approval.resolved", "question.answered"):
                answered[_id(entry)] += 1
        for one, count in answered.items():
            if count > 1:
                yield Finding("answered_twice", run, one)
            if one not in asked:
                yield Finding("answered_unasked", run, one)
        if status_of(entries) in FINAL:
            for one in sorted(asked - set(answered)):
                yield Finding("open_after_end", run, one)


def order(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """In each session runs start in the order of their submission, one at a time where none parks."""
    for name, entries in journals.items():
        submitted = [one["run"] for one in entries if one["kind"] == "run.submitted"]
        started = [one["run"] for one in entries if one["kind"] == "run.started"]
        wanted = [run for run in submitted if run in set(started)]
        if started != wanted:
            first = next((pair for pair in zip(started, wanted, strict=False) if pair[0] != pair[1]), ("?", "?"))
            yield Finding("fifo", name, f"{first[0]} started where {first[1]} was next")
        parks = {
            one["run"]
            for one in entries
            if one["kind"] == "run.submitted" and one["data"]["settings"]["while_waiting"] == "park"
        }
        active: str | None = None
        for entry in entries:
            if entry["kind"] == "run.started":
                if active is not None:
                    yield Finding("two_active", name, f"{entry['run']} started while {active} had not ended")
                active = entry["run"]
            elif entry.get("run") == active and (
                entry["kind"] in ENDS
                or (
                    entry["kind"] == "run.waiting"
                    and (active in parks or entry["data"]["status"] == "waiting_for_agent")
                )
            ):
                active = None


def acknowledged(
    journals: Mapping[str, list[Entry]], acks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Finding]:
    """Everything that was acknowledged is there, once: sessions, runs (also by key), decisions, answers."""
    there: dict[tuple[str, str], list[Entry]] = {}
    keys: Counter[tuple[str, str]] = Counter()
    for entry in all_entries(journals):
        data = entry["data"]
        name = {
            "session.created": entry.get("session"),
            "run.submitted": entry.get("run"),
            "approval.resolved": data.get("approval_id"),
            "question.answered": data.get("question_id"),
            "message.posted": data.get("message_id"),
        }.get(entry["kind"])
        if name:
            there.setdefault((entry["kind"], name), []).append(entry)
        if entry["kind"] == "run.submitted" and data.get("idempotency"):
            keys[str(entry["session"]), data["idempotency"]["key"]] += 1
    for key, count in keys.items():
        if count > 1:
            yield Finding("key_twice", "/".join(key), f"{count} runs")
    for kind, noun in (("session.created", "sessions"), ("run.submitted", "runs"), ("message.posted", "messages")):
        for ack in acks.get(noun, ()):
            found = there.get((kind, ack["id"]), [])
            if len(found) != 1:
                yield Finding("acknowledged", f"{noun} {ack['id']}", f"{len(found)} entries of {kind}")
            elif ack.get("session") not in (None, found[0]["session"]):
                yield Finding("acknowledged", f"{noun} {ack['id']}", f"it is in the session {found[0]['session']}")
    outcomes = {"allow": "allowed", "deny": "denied", "answer": "answered", "decline": "declined"}
    for kind, noun in (("approval.resolved", "approvals"), ("question.answered", "questions")):
        for ack in acks.get(noun, ()):
            found = there.get((kind, ack["id"]), [])
            if [one["data"]["outcome"] for one in found] != [outcomes[ack["decision"]]]:
                yield Finding("acknowledged", f"{noun} {ack['id']}", f"{ack['decision']}, but {found or 'nothing'}")
    newest = max((one["n"] for one in all_entries(journals)), default=0)
    for ack in (one for group in acks.values() for one in group):
        if int(ack.get("n") or 0) > newest:
            yield Finding("acknowledged", str(ack["id"]), f"n {ack['n']} was said; the newest entry is {newest}")


def records(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """The readable Records say of each run what its journal says."""
    for name, entries in journals.items():
        if not name.startswith("sessions/"):
            continue
        runs: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.get("run"):
                runs.setdefault(entry["run"], []).append(entry)
        for run, mine in runs.items():
            path = root / Path(name).parent / "runs" / f"{run}.yaml"
            found = re.search(r"^status: (\S+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
            if found is None:
                yield Finding("record", str(path.relative_to(root)), "there is no such record, or no status in it")
            elif found[1] != status_of(mine):
                yield Finding("record", str(path.relative_to(root)), f"{found[1]}; the journal says {status_of(mine)}")


def pending(root: Path, journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """A file under pending/ for each open request, and no other."""
    wanted = {one for entries in by_run(journals).values() for one in (*open_requests(entries), *_proposals(entries))}
    there = {path.stem for path in root.glob("pending/*/*.yaml")}
    for one in sorted(wanted - there):
        yield Finding("pending", one, "it is open, and has no file under pending/")
    for one in sorted(there - wanted):
        yield Finding("pending", one, "its file is under pending/, and it is not open")
