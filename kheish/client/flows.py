"""Flows of the client: start, look up, follow, cancel, attach evidence, and the auditor's page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal

from kheish.client import flow_calls
from kheish.client.shapes import FlowView, Json, Page
from kheish.client.sse import Event

if TYPE_CHECKING:
    from kheish.client.aio import AsyncKheish
    from kheish.client.sync import Kheish

Form = Literal["md", "html"]


class Flows:
    """`client.flows`."""

    def __init__(self, client: Kheish) -> None:
        self._client = client
        self._send = client.send

    def start(
        self,
        playbook: str,
        inputs: Json | None = None,
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        wait: str | None = None,
        **more: object,
    ) -> FlowView:
        """Start a Playbook (`id` or `id@version`). `more`: session_id, budget, reply_targets. `wait` (such as `30s`)
        answers when it ends, waits or is blocked, or the time is over."""
        return self._send(flow_calls.flow_start(playbook, version, inputs or {}, idempotency_key, wait, more))

    def get(self, flow_id: str, *, at: str | None = None, wait: str | None = None) -> FlowView:
        """The Flow, or with `at` (a commit, tag, `n:90412`, `@{time}`) as it was."""
        return self._send(flow_calls.flow_get(flow_id, at, wait))

    def list(self, **filters: object) -> Page[FlowView]:
        """One page, newest first; `limit`, `cursor`, status, playbook, version, session."""
        return self._send(flow_calls.flow_list(filters))

    def cancel(self, flow_id: str, reason: str | None = None) -> FlowView:
        """Stop it and its runs. Raises FlowStateConflict where it has ended otherwise."""
        return self._send(flow_calls.flow_cancel(flow_id, reason))

    def attach(
        self, flow_id: str, kind: str, id: str, *, idempotency_key: str | None = None, **more: object
    ) -> FlowView:
        """Attach evidence; `more`: ref, phase, description. Raises EvidenceUnresolved."""
        return self._send(flow_calls.flow_evidence(flow_id, {"kind": kind, "id": id, **more}, idempotency_key))

    def report(self, flow_id: str, form: Form = "md") -> str:
        """The auditor's page."""
        return self._send(flow_calls.flow_report(flow_id, form)).text

    def follow(self, flow_id: str, after: int = 0) -> Iterator[Event]:
        """The Flow's events after number `after`, then live ones, up to its seal."""
        for event in self._client.follow("flows", flow_id, "events", after=after):
            yield event
            if event.kind == "flow.sealed" and event.data.get("flow_id") == flow_id:
                return


class AsyncFlows:
    """`client.flows` of the asynchronous client."""

    def __init__(self, client: AsyncKheish) -> None:
        self._client = client
        self._send = client.send

    async def start(
        self,
        playbook: str,
        inputs: Json | None = None,
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        wait: str | None = None,
        **more: object,
    ) -> FlowView:
        """As `Flows.start`."""
        return await self._send(flow_calls.flow_start(playbook, version, inputs or {}, idempotency_key, wait, more))

    async def get(self, flow_id: str, *, at: str | None = None, wait: str | None = None) -> FlowView:
        """As `Flows.get`."""
        return await self._send(flow_calls.flow_get(flow_id, at, wait))

    async def list(self, **filters: object) -> Page[FlowView]:
        """As `Flows.list`."""
        return await self._send(flow_calls.flow_list(filters))

    async def cancel(self, flow_id: str, reason: str | None = None) -> FlowView:
        """As `Flows.cancel`."""
        return await self._send(flow_calls.flow_cancel(flow_id, reason))

    async def attach(
        self, flow_id: str, kind: str, id: str, *, idempotency_key: str | None = None, **more: object
    ) -> FlowView:
        """As `Flows.attach`."""
        return await self._send(flow_calls.flow_evidence(flow_id, {"kind": kind, "id": id, **more}, idempotency_key))

    async def report(self, flow_id: str, form: Form = "md") -> str:
        """As `Flows.report`."""
        return (await self._send(flow_calls.flow_report(flow_id, form))).text

    async def follow(self, flow_id: str, after: int = 0) -> AsyncIterator[Event]:
        """As `Flows.follow`."""
        stream = self._client.follow("flows", flow_id, "events", after=after)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                yield event
                if event.kind == "flow.sealed" and event.data.get("flow_id") == flow_id:
                    return
