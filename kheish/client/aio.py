"""`AsyncKheish`: the same client for asyncio, over httpx (imported when the first one is made)."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar, Unpack

from kheish.client import calls, finding
from kheish.client.aio_transport import AsyncTransport
from kheish.client.calls import Call, Query, Text
from kheish.client.flows import AsyncFlows
from kheish.client.run import Deadline, RunFacts
from kheish.client.shapes import (
    RUN_ENDS,
    Answer,
    Approval,
    ChangedFile,
    FileProblem,
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
from kheish.errors import Unavailable, Unreachable

if TYPE_CHECKING:
    from kheish.client.aio_playbooks import AsyncPlaybooks

T = TypeVar("T")


class AsyncWhole(ABC):
    """What concerns the daemon as a whole; `AsyncKheish` has these as its own."""

    @abstractmethod
    async def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.calls`."""

    async def status(self) -> Json:
        return await self.send(calls.status())

    async def problems(self) -> Page[FileProblem]:
        return await self.send(calls.problems())

    async def config(self) -> Json:
        return await self.send(calls.config())

    async def pause(self, route: str | None = None) -> Json:
        """Start no new step, of one route or at all."""
        return await self.send(calls.pause(route))

    async def resume(self, route: str | None = None, *, takeover: bool = False) -> Json:
        """Go on; `takeover` makes a restored root the one that the backup's remote belongs to."""
        return await self.send(calls.resume(route, takeover))

    async def state(self, what: Literal["put-back", "accept-rewind", "gc", "reindex"]) -> Json:
        """Do something to the state root as a whole (`kheish state`); how it went."""
        return await self.send(calls.state(what))

    async def backup(self) -> Json:
        """Push to the backup's remote now; how it went."""
        return await self.send(calls.backup_push())

    async def log(self, **query: object) -> Page[Json]:
        """The state root's commits, newest first."""
        return await self.send(calls.state_log(query))

    async def blame(self, path: str, *, at: str | None = None) -> Json:
        """Who wrote each line of a file of people's, and with which commit."""
        return await self.send(calls.state_blame(path, at))


class AsyncKheish(AsyncWhole):
    """A daemon: the one at `url`, else the one that serves `state_root`. Close it, or use it in `async with`.

    Every method raises the class of `kheish.errors` that the daemon's answer names, or Unreachable.
    """

    def __init__(self, url: str | None = None, token: str | None = None, state_root: str | Path | None = None) -> None:
        self._transport = AsyncTransport(lambda: finding.find(url, token, state_root))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def send(self, call: Call[T]) -> T:
        """Send one call of `kheish.client.calls`."""
        return await self._transport.send(call)

    @cached_property
    def sessions(self) -> AsyncSessions:
        return AsyncSessions(self)

    @cached_property
    def runs(self) -> AsyncRuns:
        return AsyncRuns(self)

    @cached_property
    def flows(self) -> AsyncFlows:
        return AsyncFlows(self)

    @cached_property
    def approvals(self) -> AsyncApprovals:
        return AsyncApprovals(self)

    @cached_property
    def questions(self) -> AsyncQuestions:
        return AsyncQuestions(self)

    @cached_property
    def permissions(self) -> AsyncPermissions:
        return AsyncPermissions(self)

    @cached_property
    def playbooks(self) -> AsyncPlaybooks:
        from kheish.client.aio_playbooks import AsyncPlaybooks

        return AsyncPlaybooks(self)

    def definitions(self, kind: str) -> AsyncDefinitions:
        """The Definitions of one kind: `routes`, `personas`, …"""
        return AsyncDefinitions(self, kind)

    def events(self, *, after: int | None = None, **filters: object) -> AsyncIterator[Event]:
        """Every event after `after` (0: all; None: from now on), then live ones, for ever.

        `filters`: session, run, kind. Goes on by itself over cuts and daemon restarts, without a gap.
        """
        return self.follow("events", after=after, filters=filters)

    async def follow(self, *parts: str, after: int | None, filters: Query | None = None) -> AsyncGenerator[Event, None]:
        """The events of one stream."""
        place = Following(after)
        while True:
            why: Exception | None = None
            try:
                query = {**(filters or {}), **place.query()}
                async with self._transport.stream(calls.path(*parts, query=query)) as response:
                    place.opened(response.headers.get("x-kheish-event"))
                    async for chunk in response.aiter_bytes():
                        for event in place.feed(chunk):
                            yield event
            except (Unreachable, Unavailable) as error:
                why = error
            await asyncio.sleep(place.cut(why))
            # Between two daemons there is no note of an address; the next attempt tells.
            with contextlib.suppress(Unreachable):
                await self._transport.moved()


class AsyncRun(RunFacts):
    """A run that was started or looked up."""

    def __init__(self, client: AsyncKheish, data: RunView) -> None:
        super().__init__(data)
        self._client = client

    async def refresh(self) -> AsyncRun:
        """Ask how the run is now."""
        self.data = await self._client.send(calls.run_get(self.run_id))
        return self

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        """The run's events after number `after`, then live ones, up to its end; then `output` and `error` are there."""
        # Closed here and now: an abandoned asynchronous generator holds its connection until the collector comes.
        async with contextlib.aclosing(self._client.follow("runs", self.run_id, "events", after=after)) as events:
            async for event in events:
                yield event
                if event.kind in RUN_ENDS and event.run == self.run_id:
                    break
        await self.refresh()

    async def wait(self, timeout: float | None = None) -> AsyncRun:
        """Wait until the run is final, or waits for a user (`needs_user`); restarts of the daemon do not end the wait.

        Raises TimeoutError after `timeout` seconds.
        """
        deadline = Deadline(timeout)
        while True:
            with contextlib.suppress(Unreachable, Unavailable):  # between two daemons
                self.data = await self._client.send(calls.run_wait(self.run_id, deadline.left))
                if self.done or self.needs_user:
                    return self
            if not deadline.left:
                raise self.overdue()
            await asyncio.sleep(deadline.pause())

    async def cancel(self, reason: str | None = None) -> AsyncRun:
        self.data = await self._client.send(calls.run_cancel(self.run_id, reason))
        return self

    async def retry(self, *, idempotency_key: str | None = None) -> AsyncRun:
        """Start a new run with the same request."""
        return AsyncRun(self._client, await self._client.send(calls.run_retry(self.run_id, idempotency_key)))


class _AsyncResource:
    """One noun of the API, bound to a client."""

    def __init__(self, client: AsyncKheish) -> None:
        self._client = client
        self._send = client.send


class AsyncSessions(_AsyncResource):
    async def create(self, session_id: str | None = None, **settings: Unpack[SessionSettings]) -> Session:
        """Make a session, or get the one that is there with the same settings. Raises SessionConflict."""
        return await self._send(calls.session_create(session_id, settings))

    async def get(self, session_id: str, *, at: str | None = None) -> Session:
        """The session, or with `at` (a commit, tag, `n:90412`, `@{time}`) as it was."""
        return await self._send(calls.session_get(session_id, at))

    async def list(self, **filters: object) -> Page[Session]:
        """One page; `limit`, `cursor`, and fields to filter by."""
        return await self._send(calls.session_list(filters))

    async def patch(self, session_id: str, **settings: Unpack[SessionSettings]) -> Session:
        return await self._send(calls.session_patch(session_id, settings))

    async def end(self, session_id: str, *, force: bool = False) -> Session:
        """Refuse new input from now on; `force` interrupts what runs."""
        return await self._send(calls.session_end(session_id, force))

    async def interrupt(self, session_id: str) -> Session:
        return await self._send(calls.session_interrupt(session_id))

    async def delete(self, session_id: str) -> Json:
        """Take it out of the tree and the index; `remains` says what git keeps. Raises SessionNotIdle."""
        return await self._send(calls.session_delete(session_id))

    async def fork(
        self, session_id: str, new_id: str | None = None, *, at: str | None = None, title: str | None = None
    ) -> Session:
        """A new session with this one's history up to `at` (as for `get`, or `seq:17`)."""
        return await self._send(calls.session_fork(session_id, at, new_id, title))

    async def history(self, session_id: str, **query: object) -> Page[Json]:
        """The commits that changed it, newest first."""
        return await self._send(calls.session_history(session_id, query))

    async def diff(self, session_id: str, since: str | None = None, to: str | None = None, **query: object) -> Json:
        """What happened between two moments: `text` and `entries`."""
        return await self._send(calls.session_diff(session_id, {"from": since, "to": to, **query}))

    async def changes(self, session_id: str, **query: object) -> Page[ChangedFile]:
        """Files of the workspace that its file tools changed, the last changed first. Commands are not seen."""
        return await self._send(calls.session_changes(session_id, query))

    async def search(self, session_id: str, words: str, **query: object) -> Page[Json]:
        """What was said in it, newest first. Over all sessions: `list(q=words)`."""
        return await self._send(calls.session_search(session_id, {"q": words, **query}))

    async def journal(self, session_id: str, **query: object) -> Page[Json]:
        return await self._send(calls.session_journal(session_id, query))

    async def tasks(self, session_id: str, **query: object) -> Page[Task]:
        """The session's tasks, newest first; background commands so far."""
        return await self._send(calls.session_tasks(session_id, query))

    def events(self, session_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        return self._client.follow("sessions", session_id, "events", after=after)


class AsyncRuns(_AsyncResource):
    async def start(
        self,
        session: str,
        content: str | None = None,
        *,
        idempotency_key: str | None = None,
        wait: str | None = None,
        **submission: Unpack[Submission],
    ) -> AsyncRun:
        """Queue a run of `session`. `wait` (such as `30s`) answers when it ends, waits, or the time is over."""
        call = calls.run_start(session, content, idempotency_key, wait, submission)
        return AsyncRun(self._client, await self._send(call))

    async def get(self, run_id: str, *, at: str | None = None) -> AsyncRun:
        return AsyncRun(self._client, await self._send(calls.run_get(run_id, at)))

    async def list(self, **filters: object) -> Page[RunView]:
        return await self._send(calls.run_list(filters))

    async def cancel(self, run_id: str, reason: str | None = None) -> RunView:
        return await self._send(calls.run_cancel(run_id, reason))

    async def cancel_many(self, **filters: object) -> Json:
        """Cancel every run that fits the filters (`session`, `status`, …)."""
        return await self._send(calls.run_cancel_many(filters))

    async def retry(self, run_id: str, *, idempotency_key: str | None = None) -> AsyncRun:
        return AsyncRun(self._client, await self._send(calls.run_retry(run_id, idempotency_key)))


class AsyncApprovals(_AsyncResource):
    async def list(self, **filters: object) -> Page[Approval]:
        return await self._send(calls.approval_list(filters))

    async def get(self, approval_id: str, *, at: str | None = None) -> Approval:
        return await self._send(calls.approval_get(approval_id, at))

    async def resolve(
        self,
        approval_id: str,
        decision: str,
        *,
        reason: str | None = None,
        arguments: Json | None = None,
        remember: str | None = None,
    ) -> Approval:
        """`decision` is allow or deny. Raises ApprovalResolved (`extra["decided_by"]`) when it comes too late."""
        return await self._send(calls.approval_resolve(approval_id, decision, reason, arguments, remember))

    async def allow(self, approval_id: str, *, reason: str | None = None) -> Approval:
        return await self.resolve(approval_id, "allow", reason=reason)

    async def deny(self, approval_id: str, *, reason: str | None = None) -> Approval:
        return await self.resolve(approval_id, "deny", reason=reason)


class AsyncQuestions(_AsyncResource):
    async def list(self, **filters: object) -> Page[Question]:
        return await self._send(calls.question_list(filters))

    async def get(self, question_id: str, *, at: str | None = None) -> Question:
        return await self._send(calls.question_get(question_id, at))

    async def answer(self, question_id: str, answers: Mapping[str, Answer]) -> Question:
        """Answer all of it at once: `{"q1": {"selected": ["a"], "text": None}}`."""
        return await self._send(calls.question_answer(question_id, answers))

    async def decline(self, question_id: str, reason: str | None = None) -> Question:
        return await self._send(calls.question_decline(question_id, reason))


class AsyncPermissions(_AsyncResource):
    async def check(self, tool: str, arguments: Json, *, session: str | None = None) -> Json:
        """What would happen to this call, and why, without doing it."""
        return await self._send(calls.permission(tool, arguments, session))


class AsyncDefinitions(_AsyncResource):
    """Files that people own, of one kind. Content is a mapping, or the file's own text (kept byte for byte)."""

    def __init__(self, client: AsyncKheish, kind: str) -> None:
        super().__init__(client)
        self.kind = kind

    async def list(self, **query: object) -> Page[Json]:
        return await self._send(calls.definition_list(self.kind, query))

    async def get(self, name: str, *, at: str | None = None) -> Json:
        return await self._send(calls.definition_get(self.kind, name, at))

    async def text(self, name: str, *, at: str | None = None) -> Text:
        return await self._send(calls.definition_text(self.kind, name, at))

    async def put(self, name: str, content: Json | str, *, if_match: str | None = None) -> Json:
        """Make or replace. Raises InvalidDefinition, or PreconditionFailed where it changed since `if_match`."""
        return await self._send(calls.definition_put(self.kind, name, content, if_match))

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        await self._send(calls.definition_delete(self.kind, name, if_match))

    async def validate(self, content: Json | str, *, name: str | None = None) -> Json:
        return await self._send(calls.definition_validate(self.kind, content, name))

    async def history(self, name: str, **query: object) -> Page[Json]:
        return await self._send(calls.definition_history(self.kind, name, query))
