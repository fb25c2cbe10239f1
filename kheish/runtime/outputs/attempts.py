"""One attempt at a delivery: journaled before it begins, and with its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

from kheish import ids
from kheish.auth.broker import Broker, Lease
from kheish.domain import events, scopes, trusts, workspaces
from kheish.domain.assets import asset as assets
from kheish.domain.deliveries import rules, verbs
from kheish.domain.deliveries.delivery import Delivery, DeliveryState
from kheish.domain.outputs import targets
from kheish.domain.outputs.definition import FOLDER, OutputFile
from kheish.domain.permissions import rules as permission_rules
from kheish.domain.sessions.session import Session
from kheish.errors import Damaged, KheishError, NotFound, StoreFailed
from kheish.jobs.values import Limits
from kheish.runtime.assets.keeper import Keeper
from kheish.runtime.outputs import kinds, rendering
from kheish.runtime.outputs.base import (
    File,
    Gone,
    Job,
    NotDelivered,
    Passing,
    Refused,
    Sender,
    Sent,
    Unclear,
    Way,
    failure_of,
)
from kheish.state.state import State

S = TypeVar("S")
#: seconds until a delivery to a command that is not trusted is looked at again; trust wakes it at once
UNTRUSTED = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an attempt for its lane: the time of the next attempt, if there is one, and how the target did."""

    next_at: float | None = None
    is_answered: bool = False
    is_failed: bool = False
    delay: float = 0.0
    retry_after: float | None = None
    closed: str | None = None  # the reason why the lane is closed for now


class Attempts:
    """The attempts of all deliveries."""

    def __init__(
        self, state: State, broker: Broker, keeper: Keeper | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.state = state
        self._keeper = keeper
        self._broker = broker
        self._environ = environ

    async def run(self, delivery_id: str, space: Callable[[float], Awaitable[None]]) -> Ended:
        """Try a delivery of a loaded session. Raises StoreFailed, Unavailable, Damaged."""
        delivery = self.state.find(Delivery, delivery_id)
        if delivery is None or not delivery.is_open or delivery.state == DeliveryState.DELIVERING:
            return Ended()
        sink = targets.find(self.state.definitions, delivery.output)
        why = await self._hopeless(delivery, sink)
        if why is not None or sink is None:
            return self._die(delivery, why or "there is no such output")
        if (untrusted := await self.untrusted(delivery.output, sink)) is not None:
            return Ended(next_at=self.state.clock() + UNTRUSTED, closed=untrusted)
        if self._is_over(delivery, sink):
            return self._die(delivery, delivery.last_error or "its time is over")
        try:
            sender = await kinds.sender(sink.kind)
            job = await self._job(delivery, sink)
        except NotFound as error:
            return self._die(delivery, error.detail)
        except Passing as failure:
            return await self._begin_and_fail(delivery, sink, failure)
        return await self._attempt(delivery, job, sender, space)

    async def _hopeless(self, delivery: Delivery, sink: OutputFile | None) -> str | None:
        """Return the reason why a delivery cannot succeed until a user changes something."""
        name = delivery.output
        if sink is None:
            return f"there is no output and no connector {name!r} any more"
        if sink.disabled:
            return f"the output {name} is switched off (disabled: true)"
        if (why := await verbs.off(self.state, name)) is not None:
            return f"the output {name} is switched off ({why}): kheish outputs enable {name}"
        faults = targets.faults(self.state.definitions, [delivery.target], None)
        return "; ".join(fault.message for fault in faults) or None

    async def untrusted(self, name: str, sink: OutputFile) -> str | None:
        """Return the reason why a command is not started, or None. Raises Unavailable."""
        if not sink.commands:
            return None
        found = self.state.definitions.by_kind["outputs"].get(name)
        if found is not None and await trusts.is_trusted(self.state, f"{FOLDER}{name}", found.digest):
            return None
        return f"its command is not trusted yet: kheish trust {FOLDER}{name}"

    # --- attempting ---------------------------------------------------------------------------------------------------

    async def _job(self, delivery: Delivery, sink: OutputFile) -> Job:
        output = await rendering.output_of(self.state, delivery)
        return Job(
            delivery_id=delivery.delivery_id,
            attempt=delivery.attempts + 1,
            name=delivery.output,
            sink=sink,
            target=delivery.target,
            output=output,
            body=rendering.body_of(output),
            created_at=delivery.created_at,
            parts_done=delivery.parts_done,
            receipt=delivery.receipt,
        )

    async def _attempt(
        self, delivery: Delivery, job: Job, sender: Sender, space: Callable[[float], Awaitable[None]]
    ) -> Ended:
        async def progress(done: int, parts: int, receipt: str | None) -> None:
            event = events.DeliveryProgressed(
                delivery_id=job.delivery_id, parts_done=done, parts=parts, receipt=receipt
            )
            verbs.append(self.state, delivery, event)
            await self.state.durable()

        way = self._way(job, self.state.get(Session, delivery.session_id), progress, space)
        if delivery.is_unclear:
            looked = await self._look_up(delivery, job, sender, way)
            if looked is not None:
                return looked
            delivery = self.state.get(Delivery, delivery.delivery_id)
            job = replace(job, parts_done=delivery.parts_done, receipt=delivery.receipt)
            if delivery.is_unclear and job.sink.holds_unknown:
                reason = "whether it arrived is unknown: replay or resolve it"
                verbs.append(self.state, delivery, events.DeliveryHeld(delivery_id=job.delivery_id, reason=reason))
                return Ended(is_answered=True)
        self._started(delivery, job.attempt, sha256(job.body).hexdigest())
        await self.state.durable()
        try:
            sent = await self._guarded(sender.send(job, way), job, way)
        except NotDelivered as failure:
            return await self._failed(delivery, job.sink, failure)
        self._delivered(delivery, sent)
        return Ended(is_answered=True)

    async def _look_up(self, delivery: Delivery, job: Job, sender: Sender, way: Way) -> Ended | None:
        """Search the target for a delivery whose end is unknown; None if it is not there, or cannot be found."""
        find = getattr(sender, "find", None)
        if find is None:
            return None
        try:
            found: Sent | None = await self._guarded(find(job, way), job, way)
        except NotDelivered as failure:
            unclear = Unclear(failure.reason, retry_after=failure.retry_after)
            return await self._begin_and_fail(delivery, job.sink, unclear)
        if found is None:
            return None
        self._started(delivery, job.attempt, "")
        self._delivered(delivery, found, is_found=True)
        return Ended(is_answered=True)

    @staticmethod
    async def _guarded(work: Awaitable[S], job: Job, way: Way) -> S:
        """Return the result of a sender, which may be third-party code; every failure is NotDelivered."""
        try:
            return await work
        except StoreFailed:
            raise
        except KheishError as error:
            raise failure_of(error) from error
        except (NotDelivered, asyncio.CancelledError):
            raise
        except TimeoutError as error:
            raise Unclear(f"it took longer than {way.seconds:g} s") from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # the last two would end the daemon
            raise Unclear(f"the kind {job.sink.kind} failed: {type(error).__name__}: {error}") from error

    async def send_once(self, job: Job, workspace: str) -> Sent:
        """Send something that is no delivery. Raises NotDelivered."""

        async def nothing(*_: object) -> None:
            pass

        way = self._way(job, workspace, nothing, nothing)
        sender = await kinds.sender(job.sink.kind)
        return await self._guarded(sender.send(job, way), job, way)

    def _way(
        self,
        job: Job,
        origin: Session | str,
        progress: Callable[[int, int, str | None], Awaitable[None]],
        space: Callable[[float], Awaitable[None]],
    ) -> Way:
        """Return the means of a sender; `origin` is the session of the delivery, or a workspace without one."""
        name, config = job.name, self.state.definitions.config
        sandbox = config.sandbox
        scope: scopes.Scopes
        rules: Sequence[Mapping[str, Any]]
        if isinstance(origin, str):
            workspace, scope, subjects, rules = origin, (), ["daemon"], ()
        else:
            workspace, scope = origin.settings["workspace"] or "", scopes.credential(origin.settings)
            subjects, rules = [f"session:{origin.session_id}", "daemon"], origin.settings["permission_rules"]

        def lend(slot: str) -> AbstractAsyncContextManager[Lease]:
            audience = targets.audience(self.state.definitions, name)
            return self._broker.lease((audience, *subjects), slot, audience, scope=scope)

        return Way(
            lend=lend,
            progress=progress,
            content=self._content,
            space=space,
            now=self.state.clock,
            seconds=job.sink.timeout,
            allow=config.network.allow,
            workspace=workspaces.door_of(self.state, workspace),
            rules=permission_rules.scopes(self.state.definitions.permissions, rules),
            environ=self._environ,
            limits=Limits(processes=sandbox.processes, memory=sandbox.memory, file_size=sandbox.file_size),
        )

    async def _content(self, file: File) -> bytes:
        """Return the content of a file of an output. Raises Refused: after a repair, a user replays the delivery."""
        if self._keeper is None:
            raise Refused("there are no assets here")
        try:
            return await self._keeper.content(await assets.get(self.state, file.asset_id))
        except (NotFound, Damaged) as error:
            raise Refused(f"the file {file.name} cannot be sent: {error.detail}") from error

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _started(self, delivery: Delivery, attempt: int, digest: str) -> None:
        event = events.DeliveryStarted(delivery_id=delivery.delivery_id, attempt=attempt, digest=digest)
        verbs.append(self.state, delivery, event)

    def _delivered(self, delivery: Delivery, sent: Sent, *, is_found: bool = False) -> None:
        event = events.DeliveryDelivered(
            delivery_id=delivery.delivery_id, parts=sent.parts, receipt=sent.receipt, found=is_found
        )
        verbs.append(self.state, delivery, event)

    async def _begin_and_fail(self, delivery: Delivery, sink: OutputFile, failure: NotDelivered) -> Ended:
        """Record an attempt that failed before anything was sent."""
        self._started(delivery, delivery.attempts + 1, "")
        return await self._failed(delivery, sink, failure)

    async def _failed(self, delivery: Delivery, sink: OutputFile, failure: NotDelivered) -> Ended:
        if isinstance(failure, Gone):
            await verbs.switch_off(self.state, delivery.output, failure.reason)
        if isinstance(failure, Refused):
            return self._die(delivery, failure.reason)
        now, attempts = self.state.clock(), delivery.attempts + 1
        pause = rules.pause(delivery.delivery_id, attempts, most=sink.retry.max, retry_after=failure.retry_after)
        is_unclear = isinstance(failure, Unclear)
        if self._is_over(delivery, sink, after=pause) and not (is_unclear and sink.holds_unknown):
            return self._die(delivery, failure.reason)
        until = now if is_unclear and sink.holds_unknown else now + pause
        event = events.DeliveryDelayed(
            delivery_id=delivery.delivery_id, reason=failure.reason, until=ids.stamp(until), unknown_end=is_unclear
        )
        verbs.append(self.state, delivery, event)
        return Ended(next_at=until, is_failed=True, delay=pause, retry_after=failure.retry_after)

    def _die(self, delivery: Delivery, reason: str) -> Ended:
        event = events.DeliveryDied(delivery_id=delivery.delivery_id, output=delivery.output, reason=reason)
        verbs.append(self.state, delivery, event)
        return Ended(is_answered=True)

    def _is_over(self, delivery: Delivery, sink: OutputFile, after: float = 0.0) -> bool:
        since = ids.seconds_of(delivery.since)
        return rules.is_over(since, self.state.clock(), give_up=sink.retry.give_up, after=after)
