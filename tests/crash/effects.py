"""Checks what was done outside: calls of tools, commands, edits; nothing twice unseen, and nothing lost that ended."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.crash.histories import FINAL, status_of
from tests.crash.journals import Entry, Finding, all_entries, by_run, payload

LEDGER = re.compile(r"echo (\S+) >> ledger\.txt")
SHELLS = {"bash", "shell_task_start"}


def calls(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Each call is finished once; an unsafe one starts again only after a person said so."""
    for run, entries in by_run(journals).items():
        ended = status_of(entries) in FINAL
        for call in {one["data"]["call_id"] for one in entries if one["kind"] == "tool.started"}:
            mine = [one for one in entries if one["data"].get("call_id") == call]
            starts = [one for one in mine if one["kind"] == "tool.started"]
            finishes = [one for one in mine if one["kind"] == "tool.finished"]
            where = f"{run} {call}"
            if len(finishes) > 1:
                yield Finding("finished_twice", where, f"{len(finishes)} times")
            if ended and not finishes:
                yield Finding("never_finished", where, "the run has ended, and the call has no result")
            if finishes and finishes[0]["n"] < starts[-1]["n"]:
                yield Finding("started_after_end", where, f"n {starts[-1]['n']}")
            for before, after in pairwise(starts):
                between = [one for one in entries if before["n"] < one["n"] < after["n"]]
                if not _may_repeat(before, between):
                    yield Finding("repeated", where, f"n {before['n']} and {after['n']}: {before['data']['tool']}")


def _may_repeat(before: Entry, between: Sequence[Entry]) -> bool:
    if before["data"]["replay"] == "safe":
        return any(one["kind"] == "run.resumed" for one in between)
    asked = {
        one["data"]["question_id"]
        for one in between
        if one["kind"] == "question.asked" and one["data"]["purpose"] == "ambiguous"
    }
    return any(
        one["kind"] == "question.answered"
        and one["data"]["question_id"] in asked
        and "run_again" in str(one["data"].get("answers"))
        for one in between
    )


def tasks(journals: Mapping[str, list[Entry]]) -> Iterator[Finding]:
    """Each background command is made once, by a start that was journaled before, and ends once."""
    for name, entries in journals.items():
        made = [one for one in entries if one["kind"] == "task.created"]
        ends = Counter(one["data"]["task_id"] for one in entries if one["kind"] == "task.ended")
        for task, count in Counter(one["data"]["task_id"] for one in made).items():
            if count > 1:
                yield Finding("task_made_twice", name, task)
            if not ends[task]:
                yield Finding("task_open", name, f"{task} has no end")
        for task, count in ends.items():
            if count > 1:
                yield Finding("task_ended_twice", name, f"{task}: {count} times")


def ledger(journals: Mapping[str, list[Entry]], path: Path) -> Iterator[Finding]:
    """The shell's effects: never more lines than journaled starts, and one at least for each that ended well."""
    written = Counter(path.read_text().split("\n") if path.exists() else [])
    written.pop("", None)
    starts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for entries in by_run(journals).values():
        names: dict[str, str] = {}
        for entry in entries:
            data = entry["data"]
            if entry["kind"] == "tool.started" and data["tool"] in SHELLS:
                found = LEDGER.search(str(data["arguments"].get("command")))
                if found:
                    names[data["call_id"]] = found[1]
                    starts[found[1]] += 1
            elif (
                entry["kind"] == "tool.finished" and data["call_id"] in names and data["detail"].get("exit_status") == 0
            ):
                ends[names[data["call_id"]]] += 1
    ends += Counter(_done_behind(journals))
    for name, count in written.items():
        if count > starts[name]:
            yield Finding("effect_twice", name, f"{count} lines for {starts[name]} journaled starts")
    for name, count in ends.items():
        if written[name] < count:
            yield Finding("effect_lost", name, f"{count} calls ended well, {written[name]} lines are there")


def _done_behind(journals: Mapping[str, list[Entry]]) -> Iterator[str]:
    """What background commands that ended well were to write."""
    entries = list(all_entries(journals))
    well = {one["data"]["task_id"] for one in entries if one["kind"] == "task.ended" and _well(one["data"])}
    for entry in entries:
        if entry["kind"] == "task.created" and entry["data"]["task_id"] in well:
            found = LEDGER.search(str(entry["data"]["description"]))
            if found:
                yield found[1]


def _well(data: Mapping[str, Any]) -> bool:
    return (data.get("ending") or {}).get("exit_status") == 0


def edits(journals: Mapping[str, list[Entry]], folder: Path) -> Iterator[Finding]:
    """Files of the workspace that calls of `edit_file` put one text in: once for a call, were it started ever so often.

    Such a text is longer than, and contains, what it replaces, so that a second edit would be seen.
    """
    for run, entries in by_run(journals).items():
        for entry in entries:
            data = entry["data"]
            if entry["kind"] != "tool.started" or data["tool"] != "edit_file":
                continue
            path = folder / data["arguments"]["path"]
            count = path.read_text().count(data["arguments"]["new_string"]) if path.exists() else 0
            more = path.read_text().count("+") if path.exists() else 0
            if more > 1:
                yield Finding("effect_twice", run, f"{path.name} was edited {more} times")
            elif not count and any(_succeeded(one, data["call_id"]) for one in entries):
                yield Finding("effect_lost", run, f"{path.name} does not have what the edit put in")


#: what fails a run, and is the daemon's own fault
_OURS = {"damaged", "internal"}


def bulk(root: Path, journals: Mapping[str, list[Entry]], folder: Path) -> Iterator[Finding]:
    """Large payloads: no run fails for them, and what was written or answered is whole."""
    where = {entry["run"]: name for name, entries in journals.items() for entry in entries if entry.get("run")}
    for run, entries in by_run(journals).items():
        for entry in entries:
            data = entry["data"]
            if entry["kind"] == "run.failed" and (data.get("error") or {}).get("code") in _OURS:
                yield Finding("failed_by_itself", run, str(data["error"]))
            if entry["kind"] == "run.completed" and isinstance(data["output"], dict):
                text = payload(root, where[run], data["output"])
                if text is not None and not text.startswith(data["output"]["preview"]):
                    yield Finding("bulk_damaged", run, "the output is not what was answered")
            if entry["kind"] == "tool.started" and data["tool"] == "write_file":
                arguments = payload(root, where[run], data["arguments"]) or {"path": ""}
                path = folder / arguments["path"]
                ended = any(_succeeded(one, data["call_id"]) for one in entries)
                if path.parent.name == "bulky" and ended and path.read_text() != arguments["content"]:
                    yield Finding("bulk_damaged", run, f"{path.name} is not what was written")


def _succeeded(entry: Entry, call_id: str) -> bool:
    data = entry["data"]
    return entry["kind"] == "tool.finished" and data["call_id"] == call_id and not data["is_error"]
