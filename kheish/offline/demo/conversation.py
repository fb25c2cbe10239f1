"""A session's journal as a conversation of 80 columns, with times and event numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from kheish.domain.completion import is_check

Entry = Mapping[str, Any]
_ROOM = 54
#: the argument that says most about a call
_TELLING = ("command", "pattern", "path", "ref")
_COLOURS = {"you": "green", "agent": "cyan", "tool": "white", "daemon": "yellow"}


def lines(entries: Iterable[Entry], run_id: str) -> Iterator[str]:
    """Yield the lines of one run; skip entries without readable content."""
    labels: dict[str, str] = {}
    for entry in entries:
        if entry["run"] != run_id:
            continue
        if entry["kind"] == "question.asked":
            labels |= {option["id"]: option["label"] for one in entry["data"]["questions"] for option in one["options"]}
        for who, text in _SAID.get(entry["kind"], _nothing)(entry["data"]):
            yield from _paragraph(entry, who, labels.get(text, text))


def _paragraph(entry: Entry, who: str, text: str) -> Iterator[str]:
    head = f"{entry['at'][11:19]}  #{entry['n']:<5}"
    for number, line in enumerate(_wrapped(text)):
        name = click.style(who.ljust(7), fg=_COLOURS[who], bold=True) if number == 0 else " " * 7
        yield f"{head if number == 0 else ' ' * len(head)}  {name} {line}"


def _wrapped(text: str) -> Sequence[str]:
    """Return the lines of a text: prose is wrapped, and the lines of a diff are kept."""
    return [
        part
        for line in text.splitlines()
        for part in ([line] if line[:1] in ("+", "-") else textwrap.wrap(line, _ROOM) or [""])
    ]


def _nothing(_: Entry) -> Iterator[tuple[str, str]]:
    yield from ()


def _submitted(data: Entry) -> Iterator[tuple[str, str]]:
    who = "daemon" if data.get("flow") else "you"
    yield who, " ".join(" ".join(item["text"].split()) for item in data["request"]["items"])


def _responded(data: Entry) -> Iterator[tuple[str, str]]:
    if data["text"]:
        yield "agent", data["text"]


def _started(data: Entry) -> Iterator[tuple[str, str]]:
    said = next((data["arguments"][name] for name in _TELLING if data["arguments"].get(name)), "")
    if data["tool"] != "ask_user_question":
        yield "daemon" if is_check(data["call_id"]) else "agent", f"→ {data['tool']}: {said}"


def _finished(data: Entry) -> Iterator[tuple[str, str]]:
    told = data["content"].strip().splitlines()
    if data["tool"] == "bash":
        status = told.pop() if told[-1].startswith("[exit") and len(told) > 1 else ""
        yield "tool", f"{told[-1]} {status}".rstrip()
    elif data["tool"] == "edit_file":
        diff = [line for line in data["detail"]["diff"].splitlines() if line[:1] in ("+", "-")]
        yield "tool", "\n".join(line for line in diff if not line.startswith(("+++", "---")))


def _asked(data: Entry) -> Iterator[tuple[str, str]]:
    for one in data["questions"]:
        yield "agent", f"{one['text']} ({' / '.join(option['label'] for option in one['options'])})"


def _answered(data: Entry) -> Iterator[tuple[str, str]]:
    for answer in (data["answers"] or {}).values():
        yield from (("you", option) for option in answer["selected"])


def _requested(data: Entry) -> Iterator[tuple[str, str]]:
    if data["tool"] == "phase":
        yield "daemon", f"allow the result of the phase {data['arguments']['phase']}?"
    else:
        yield "agent", f"may I? {data['tool']}: {data['arguments'].get('command')}"


def _resolved(data: Entry) -> Iterator[tuple[str, str]]:
    yield "you", f"{data['outcome']} (by {data['via']})"


def _resumed(data: Entry) -> Iterator[tuple[str, str]]:
    if data["reason"] == "restart":
        yield "daemon", "was restarted; the run continues where it was"


def _completed(_: Entry) -> Iterator[tuple[str, str]]:
    yield "daemon", "run completed"


_SAID: Mapping[str, Callable[[Entry], Iterator[tuple[str, str]]]] = {
    "run.submitted": _submitted,
    "model.responded": _responded,
    "tool.started": _started,
    "tool.finished": _finished,
    "question.asked": _asked,
    "question.answered": _answered,
    "approval.requested": _requested,
    "approval.resolved": _resolved,
    "run.resumed": _resumed,
    "run.completed": _completed,
}
