"""Followed runs and Flows: their events, their state, the errors of waiting ones, and their ends."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import click

from kheish.cli.output import counted, paint, plain, say
from kheish.cli.rendering import TONES, Rendering
from kheish.errors import KheishError
from kheish.ids import seconds_of

if TYPE_CHECKING:
    from kheish.client import Event, Kheish, Run
    from kheish.client.shapes import FlowView

WAITS = 5
DETACHED = 130


class WaitsForPerson(KheishError):
    """A followed run waits, and there is no terminal for a prompt."""

    status, code, domain, exit_code, title = 0, "waits_for_person", "runs", WAITS, "The run waits for a person"


class Followed(ABC):
    """The base of things that are followed; `noun` is in messages, `group` has their commands."""

    noun: ClassVar[str]
    group: ClassVar[str]
    #: kinds of events after which it may wait for a person
    stops: ClassVar[frozenset[str]]

    def __init__(self, id: str, data: Mapping[str, Any], heading: str) -> None:
        self.id = id
        self.data = data  # as last read
        self.heading = heading

    @property
    def status(self) -> str:
        """Its status, as last read."""
        return str(self.data["status"])

    @property
    def is_waiting(self) -> bool:
        """Return whether it waits for a person, as last read."""
        return self.status in ("waiting_for_approval", "waiting_for_question", "waiting", "blocked")

    @property
    def exit_code(self) -> int:
        """0 if it is completed or continues, 1 if it failed or was cancelled, 5 if it waits for a person."""
        if self.is_waiting:
            return WAITS
        return 1 if self.status in ("failed", "cancelled", "interrupted") else 0

    @abstractmethod
    def events(self, after: int) -> Iterator[Event]:
        """Yield its events after a number, up to its end; then set `data`."""

    @abstractmethod
    def refresh(self) -> None:
        """Set `data` to how it is now."""

    @abstractmethod
    def asking_run(self) -> Run | None:
        """Return the run with the decisions that can be prompted for."""

    @abstractmethod
    def interrupt(self, client: Kheish, *, is_repeated: bool) -> str:
        """Stop it at its next safe point, and return what happens; a repeated interrupt does not wait for one."""

    @abstractmethod
    def waits(self) -> WaitsForPerson:
        """Return the error for a waiting thing, with the commands that resolve it."""

    @abstractmethod
    def ending(self) -> Iterator[str]:
        """Yield the lines below the status at the end."""


class FollowedRun(Followed):
    """A run."""

    noun, group, stops = "run", "runs", frozenset({"run.waiting"})

    def __init__(self, run: Run) -> None:
        super().__init__(run.run_id, run.data, f"{run.run_id} in session {run.session_id}{place(run)}")
        self._run = run

    def events(self, after: int) -> Iterator[Event]:
        """Yield its events."""
        yield from self._run.follow(after)
        self.data = self._run.data

    def refresh(self) -> None:
        """Set `data` to how it is now."""
        self.data = self._run.refresh().data

    def asking_run(self) -> Run | None:
        """Return the run."""
        return self._run

    def interrupt(self, client: Kheish, *, is_repeated: bool) -> str:
        """Stop it at its next safe point. Cancel it while it is queued, and at a repeated interrupt."""
        is_active = client.sessions.get(self._run.session_id)["active_run_id"] == self.id
        if is_active and not is_repeated:
            client.sessions.interrupt(self._run.session_id, reason="interrupted at the terminal")
            return "stopping; a running command may finish: Esc again ends it, Ctrl-C leaves"
        client.runs.cancel(self.id, "interrupted at the terminal")
        return "cancelled"

    def waits(self) -> WaitsForPerson:
        """Return the error for a waiting run, with the commands that resolve it."""
        approvals, questions = self._run.waits_for
        commands = [f"`kheish approvals allow {one}` (or deny)" for one in approvals]
        return _waits(self, [*commands, *(f"`kheish questions answer {one} …`" for one in questions)])

    def ending(self) -> Iterator[str]:
        """Yield the error; print how to retry the run."""
        if self._run.error is not None:
            yield paint(plain(f"{self._run.error['code']}: {self._run.error['message']}"), fg="red")
        if self.status != "completed":
            click.echo(f"Retry it with `kheish runs retry {self.id}`.", err=True)


class FollowedFlow(Followed):
    """A Flow."""

    noun, group, stops = "Flow", "flows", frozenset({"run.waiting", "phase.blocked", "run.completed"})

    def __init__(self, client: Kheish, flow: FlowView) -> None:
        id = flow["flow_id"]
        super().__init__(id, flow, f"{id}: {flow['playbook']}@{flow['version']}, {flow['title']}")
        self._client = client

    def events(self, after: int) -> Iterator[Event]:
        """Yield its events, up to its seal."""
        yield from self._client.flows.follow(self.id, after)
        self.refresh()

    def refresh(self) -> None:
        """Set `data` to how it is now."""
        self.data = self._client.flows.get(self.id)

    def asking_run(self) -> Run | None:
        """Return its newest run; None if it is blocked, since no prompt provides evidence."""
        return None if self.status == "blocked" else self._client.runs.get(self.data["runs"][-1]["run_id"])

    def interrupt(self, client: Kheish, *, is_repeated: bool) -> str:
        """Return how it is cancelled: a Flow does not stop with one of its runs."""
        return f"The Flow continues; `kheish flows cancel {self.id}` cancels it."

    def waits(self) -> WaitsForPerson:
        """Return the error for a waiting or blocked Flow, with the commands that resolve it."""
        if self.status == "blocked":
            missing = [f"{phase['phase_id']}: {id}" for phase in self.data["phases"] for id in phase["missing"]]
            listed = ", ".join([*missing, *self.data["missing"]])
            return WaitsForPerson(
                f"{self.id} is blocked, required evidence is missing ({listed}): "
                f"`kheish flows evidence {self.id} KIND ID --ref …`."
            )
        pending = [one["approval_id"] for one in self.data["approvals"] if one["status"] == "pending"]
        return _waits(self, [f"`kheish approvals allow {one}` (or deny)" for one in pending])

    def ending(self) -> Iterator[str]:
        """Yield its reason, and the command for its report."""
        if self.data["reason"]:
            yield plain(self.data["reason"])
        yield paint(f"The report: kheish flows report {self.id} --html report.html", dim=True)


def detach(followed: Followed) -> int:
    """Report that the user left, and how to return; return the exit code."""
    again, cancel = (f"`kheish {followed.group} {word} {followed.id}`" for word in ("follow", "cancel"))
    click.echo(f"Detached; the {followed.noun} continues. {again} follows it again, {cancel} cancels it.", err=True)
    return DETACHED


def place(run: Run) -> str:
    """Return the place of a queued run in its queue."""
    position = run.data["queue_position"]
    return f", number {position} in its queue" if run.status == "queued" and position else ""


def _waits(followed: Followed, commands: list[str]) -> WaitsForPerson:
    listed = ", ".join(commands) or "see `kheish inbox`"
    return WaitsForPerson(
        f"{followed.id} waits for a person: {listed}; then `kheish {followed.group} follow {followed.id}`."
    )


def show_end(rendering: Rendering, followed: Followed) -> None:
    """Print the status of a thing at its end, with its usage."""
    tone = TONES.get(followed.status, "yellow")
    write(rendering.block([(" · ".join([followed.status, *_counts(followed.data)]), {"fg": tone})]))
    for line in followed.ending():
        say(line)


def _counts(data: Mapping[str, Any]) -> list[str]:
    usage = data.get("usage") or {}
    counts = [counted(usage.get(f"{kind}_calls", 0), f"{kind} call") for kind in ("model", "tool")]
    tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
    if tokens:
        counts.append(f"{'about ' if usage.get('estimated') else ''}{counted(tokens, 'token')}")
    if usage.get("cost_usd"):
        counts.append(f"${usage['cost_usd']:.4f}")
    if data.get("started_at") and data.get("finished_at"):
        counts.append(f"{seconds_of(data['finished_at']) - seconds_of(data['started_at']):.1f} s")
    return counts


def write(text: str) -> None:
    """Write text to stdout, without a line break."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
