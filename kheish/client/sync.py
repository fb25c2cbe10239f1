"""`Kheish`: the blocking client. Each method is one call of `calls.py`; here is only how to send and to follow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

from kheish.client import calls, finding
from kheish.client.admin import Administered
from kheish.client.calls import Call, Query, Text
from kheish.client.flows import Flows
from kheish.client.run import Deadline, RunFacts
from kheish.client.shapes import (
    RUN_ENDS,
    Answer,
    Approval,
    ChangedFile,
    Json,
    Page,
    Question,
    RunView,
    Session,
    SessionSettings,
    Submission,
    Task,
)
from kheish.client.sse import Event, Following
from kheish.client.transport import Transport
from kheish.client.whole import Whole
from kheish.errors import Unavailable, Unreachable
from kheish.ids import now

if TYPE_CHECKING:
    from kheish.client.playbooks import Playbooks

T = TypeVar("T")


class Kheish(Whole, Administered):
    """A daemon: the one at `url`, else the one that serves `state_root` (found as `kheish` finds it).

    Every method raises the class of `kheish.errors` that the daemon's answer names, or Unreachable.
    """

    def __init__(self, url: str | None = None, token: str | None = None, state_root: str | Path | None = None) -> None:
        self._transport = Transport(lambda: finding.find(url, token, state_root))

    @property
    def url(self) -> str:
        """The daemon's address. Raises Unreachable where none is known."""
        return self._transport.address.url

    def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.calls`."""
        return self._transport.send(call)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self)

    @cached_property
    def flows(self) -> Flows:
        return Flows(self)

    @cached_property
    def approvals(self) -> Approvals:
        return Approvals(self)

    @cached_property
    def questions(self) -> Questions:
        return Questions(self)

    @cached_property
    def permissions(self) -> Permissions:
        return Permissions(self)

    @cached_property
    def playbooks(self) -> Playbooks:
        from kheish.client.playbooks import Playbooks

        return Playbooks(self)

    def definitions(self, kind: str) -> Definitions:
        """The Definitions of one kind: `routes`, `personas`, …"""
        return Definitions(self, kind)

    def events(self, *, after: int | None = None, **filters: object) -> Iterator[Event]:
        """Every event after `after` (0: all; None: from now on), then live ones, for ever.

        `filters`: session, run, kind. Goes on by itself over cuts and daemon restarts, without a gap.
        """
        return self.follow("events", after=after, filters=filters)

    def past_events(self, *, after: int = 0, quiet: float = 0.5, **filters: object) -> Iterator[Event]:
        """The events after `after` that there are by now; ends at the newest, or after `quiet` seconds without one."""
        asked_at = now()
        place = Following(after)
        path = calls.path("events", query={**filters, **place.query()})
        with self._transport.stream(path, quiet) as (newest, chunks):
            for chunk in chunks:
                for event in place.feed(chunk):
                    if event.n is None or (event.at or "") > asked_at:
                        return  # this happens now: the past is told
                    yield event
                    if newest == str(event.n):
                        return

    def follow(
        self,
        *parts: str,
        after: int | None,
        filters: Query | None = None,
    ) -> Iterator[Event]:
        """The events of one stream."""
        place = Following(after)
        while True:
            why: Exception | None = None
            try:
                query = {**(filters or {}), **place.query()}
                with self._transport.stream(calls.path(*parts, query=query)) as (newest, chunks):
                    place.opened(newest)
                    for chunk in chunks:
                        yield from place.feed(chunk)
            except (Unreachable, Unavailable) as error:
                why = error
            time.sleep(place.cut(why))
            self._look_again()

    def _look_again(self) -> None:
        try:
            self._transport.moved()
        except Unreachable:
            return  # between two daemons there is no note of an address; the next attempt tells


class Run(RunFacts):
    """A run that was started or looked up."""

    def __init__(self, client: Kheish, data: RunView) -> None:
        super().__init__(data)
        self._client = client

    def refresh(self) -> Run:
        """Ask how the run is now."""
        self.data = self._client.send(calls.run_get(self.run_id))
        return self

    def follow(self, after: int = 0) -> Iterator[Event]:
        """The run's events after number `after`, then live ones, up to its end; then `output` and `error` are there."""
        for event in self._client.follow("runs", self.run_id, "events", after=after):
            yield event
            if event.kind in RUN_ENDS and event.run == self.run_id:
                break
        self.refresh()

    def wait(self, timeout: float | None = None) -> Run:
        """Block until the run is final, or waits for a user (`needs_user`); restarts of the daemon do not end the wait.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = Deadline(timeout)
        while True:
            with contextlib.suppress(Unreachable, Unavailable):  # between two daemons
                self.data = self._client.send(calls.run_wait(self.run_id, deadline.left))
                if self.done or self.needs_user:
                    return self
            if not deadline.left:
                raise self.overdue()
            time.sleep(deadline.pause())

    def cancel(self, reason: str | None = None) -> Run:
        self.data = self._client.send(calls.run_cancel(self.run_id, reason))
        return self

    def retry(self, *, idempotency_key: str | None = None) -> Run:
        """Start a new run with the same request."""
        return Run(self._client, self._client.send(calls.run_retry(self.run_id, idempotency_key)))


class _Resource:
    """One noun of the API, bound to a client."""

    def __init__(self, client: Kheish) -> None:
        self._client = client
        self._send = client.send


class Sessions(_Resource):
    def create(self, session_id: str | None = None, **settings: Unpack[SessionSettings]) -> Session:
        """Make a session, or get the one that is there with the same settings. Raises SessionConflict."""
        return self._send(calls.session_create(session_id, settings))

    def get(self, session_id: str, *, at: str | None = None) -> Session:
        """The session, or with `at` (a commit, tag, `n:90412`, `@{time}`) as it was."""
        return self._send(calls.session_get(session_id, at))

    def list(self, **filters: object) -> Page[Session]:
        """One page; `limit`, `cursor`, and fields to filter by."""
        return self._send(calls.session_list(filters))

    def patch(self, session_id: str, **settings: Unpack[SessionSettings]) -> Session:
        return self._send(calls.session_patch(session_id, settings))

    def end(self, session_id: str, *, force: bool = False) -> Session:
        """Refuse new input from now on; `force` interrupts what runs."""
        return self._send(calls.session_end(session_id, force))

    def interrupt(self, session_id: str) -> Session:
        return self._send(calls.session_interrupt(session_id))

    def delete(self, session_id: str) -> Json:
        """Take it out of the tree and the index; `remains` says what git keeps. Raises SessionNotIdle."""
        return self._send(calls.session_delete(session_id))

    def fork(
        self, session_id: str, new_id: str | None = None, *, at: str | None = None, title: str | None = None
    ) -> Session:
        """A new session with this one's history up to `at` (as for `get`, or `seq:17`)."""
        return self._send(calls.session_fork(session_id, at, new_id, title))

    def history(self, session_id: str, **query: object) -> Page[Json]:
        """The commits that changed it, newest first."""
        return self._send(calls.session_history(session_id, query))

    def diff(self, session_id: str, since: str | None = None, to: str | None = None, **query: object) -> Json:
        """What happened between two moments: `text` and `entries`."""
        return self._send(calls.session_diff(session_id, {"from": since, "to": to, **query}))

    def changes(self, session_id: str, **query: object) -> Page[ChangedFile]:
        """Files of the workspace that its file tools changed, the last changed first. Commands are not seen."""
        return self._send(calls.session_changes(session_id, query))

    def search(self, session_id: str, words: str, **query: object) -> Page[Json]:
        """What was said in it, newest first. Over all sessions: `list(q=words)`."""
        return self._send(calls.session_search(session_id, {"q": words, **query}))

    def journal(self, session_id: str, **query: object) -> Page[Json]:
        return self._send(calls.session_journal(session_id, query))

    def tasks(self, session_id: str, **query: object) -> Page[Task]:
        """The session's tasks, newest first; background commands so far."""
        return self._send(calls.session_tasks(session_id, query))

    def events(self, session_id: str, *, after: int | None = None) -> Iterator[Event]:
        return self._client.follow("sessions", session_id, "events", after=after)


class Runs(_Resource):
    def start(
        self,
        session: str,
        content: str | None = None,
        *,
        idempotency_key: str | None = None,
        wait: str | None = None,
        **submission: Unpack[Submission],
    ) -> Run:
        """Queue a run of `session`. `wait` (such as `30s`) answers when it ends, waits, or the time is over."""
        call = calls.run_start(session, content, idempotency_key, wait, submission)
        return Run(self._client, self._send(call))

    def get(self, run_id: str, *, at: str | None = None) -> Run:
        return Run(self._client, self._send(calls.run_get(run_id, at)))

    def list(self, **filters: object) -> Page[RunView]:
        return self._send(calls.run_list(filters))

    def cancel(self, run_id: str, reason: str | None = None) -> RunView:
        return self._send(calls.run_cancel(run_id, reason))

    def cancel_many(self, **filters: object) -> Json:
        """Cancel every run that fits the filters (`session`, `status`, …)."""
        return self._send(calls.run_cancel_many(filters))

    def retry(self, run_id: str, *, idempotency_key: str | None = None) -> Run:
        return Run(self._client, self._send(calls.run_retry(run_id, idempotency_key)))


class Approvals(_Resource):
    def list(self, **filters: object) -> Page[Approval]:
        return self._send(calls.approval_list(filters))

    def get(self, approval_id: str, *, at: str | None = None) -> Approval:
        return self._send(calls.approval_get(approval_id, at))

    def resolve(
        self,
        approval_id: str,
        decision: str,
        *,
        reason: str | None = None,
        arguments: Json | None = None,
        remember: str | None = None,
    ) -> Approval:
        """`decision` is allow or deny. Raises ApprovalResolved (`extra["decided_by"]`) when it comes too late."""
        return self._send(calls.approval_resolve(approval_id, decision, reason, arguments, remember))

    def allow(self, approval_id: str, *, reason: str | None = None) -> Approval:
        return self.resolve(approval_id, "allow", reason=reason)

    def deny(self, approval_id: str, *, reason: str | None = None) -> Approval:
        return self.resolve(approval_id, "deny", reason=reason)


class Questions(_Resource):
    def list(self, **filters: object) -> Page[Question]:
        return self._send(calls.question_list(filters))

    def get(self, question_id: str, *, at: str | None = None) -> Question:
        return self._send(calls.question_get(question_id, at))

    def answer(self, question_id: str, answers: Mapping[str, Answer]) -> Question:
        """Answer all of it at once: `{"q1": {"selected": ["a"], "text": None}}`."""
        return self._send(calls.question_answer(question_id, answers))

    def decline(self, question_id: str, reason: str | None = None) -> Question:
        return self._send(calls.question_decline(question_id, reason))


class Permissions(_Resource):
    def check(self, tool: str, arguments: Json, *, session: str | None = None) -> Json:
        """What would happen to this call, and why, without doing it."""
        return self._send(calls.permission(tool, arguments, session))


class Definitions(_Resource):
    """Files that people own, of one kind. Content is a mapping, or the file's own text (kept byte for byte)."""

    def __init__(self, client: Kheish, kind: str) -> None:
        super().__init__(client)
        self.kind = kind

    def list(self, **query: object) -> Page[Json]:
        return self._send(calls.definition_list(self.kind, query))

    def get(self, name: str, *, at: str | None = None) -> Json:
        return self._send(calls.definition_get(self.kind, name, at))

    def text(self, name: str, *, at: str | None = None) -> Text:
        return self._send(calls.definition_text(self.kind, name, at))

    def put(self, name: str, content: Json | str, *, if_match: str | None = None) -> Json:
        """Make or replace. Raises InvalidDefinition, or PreconditionFailed where it changed since `if_match`."""
        return self._send(calls.definition_put(self.kind, name, content, if_match))

    def delete(self, name: str, *, if_match: str | None = None) -> None:
        self._send(calls.definition_delete(self.kind, name, if_match))

    def validate(self, content: Json | str, *, name: str | None = None) -> Json:
        return self._send(calls.definition_validate(self.kind, content, name))

    def history(self, name: str, **query: object) -> Page[Json]:
        return self._send(calls.definition_history(self.kind, name, query))
