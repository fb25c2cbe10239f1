"""Counts model calls, tools, deliveries and ended runs for Prometheus, from the entries of the journals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from kheish.api.metrics.measures import Measures
from kheish.daemon.reactors.base import Reactor
from kheish.domain import events
from kheish.domain.events import Entry
from kheish.state.encoding import Recorded

#: entries whose end is still to come; an older daemon's are unknown, and an end without a beginning counts nothing
_MOST = 100_000
_PREFIX = "mcp__"


class Measuring(Reactor):
    """Holds the beginnings of what is under way."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._begun: dict[tuple[Any, ...], str] = {}
        self._steps: dict[type, Callable[[Entry, Any], None]] = {
            events.ModelRequested: self._model_requested,
            events.ModelResponded: self._model_responded,
            events.ModelFailed: self._model_failed,
            events.ContextCompacted: self._compacted,
            events.ToolStarted: lambda entry, event: self._begin(entry, "tool", event.call_id),
            events.ToolFinished: self._tool_finished,
            events.DeliveryStarted: lambda entry, event: self._begin(entry, "delivery", event.delivery_id),
            events.DeliveryDelivered: self._delivery("delivered"),
            events.DeliveryDelayed: self._delivery("delayed"),
            events.DeliveryDied: self._delivery("died"),
            events.DeliveryHeld: self._delivery("held"),
            events.RunCompleted: self._ended("completed"),
            events.RunFailed: self._ended("failed"),
            events.RunCancelled: self._ended("cancelled"),
            events.RunInterrupted: self._ended("interrupted"),
        }
        self.reacts_to = frozenset(self._steps)

    def heard(self, batch: Sequence[Recorded]) -> None:
        """Count the entries of a batch."""
        for item in batch:
            step = self._steps.get(type(item.entry.event))
            if step is not None:
                step(item.entry, item.entry.event)

    def _begin(self, entry: Entry, *key: Any) -> None:
        if len(self._begun) >= _MOST:
            self._begun.pop(next(iter(self._begun)))
        self._begun[entry.run, *key] = entry.at

    def _seconds(self, entry: Entry, *key: Any) -> float | None:
        """Return the time since the beginning; None if it is unknown."""
        began = self._begun.pop((entry.run, *key), None)
        if began is None:
            return None
        return max(0.0, (datetime.fromisoformat(entry.at) - datetime.fromisoformat(began)).total_seconds())

    # --- models -------------------------------------------------------------------------------------------------------

    def _model_requested(self, entry: Entry, event: events.ModelRequested) -> None:
        self._begin(entry, "model", event.purpose)

    def _model_responded(self, entry: Entry, event: events.ModelResponded) -> None:
        self._answered(entry, "turn", event.route, "ok")
        self._used(event.route, event.usage)

    def _model_failed(self, entry: Entry, event: events.ModelFailed) -> None:
        self._answered(entry, event.purpose, event.route, event.error_kind)
        self._used(event.route, event.usage)

    def _compacted(self, entry: Entry, event: events.ContextCompacted) -> None:
        self._begun.pop((entry.run, "model", "compaction"), None)  # its entry does not name the route

    def _answered(self, entry: Entry, purpose: str, route: str, outcome: str) -> None:
        seconds = self._seconds(entry, "model", purpose)
        if seconds is not None:
            self._measures.model_calls.labels(route, outcome).observe(seconds)

    def _used(self, route: str, usage: events.Usage) -> None:
        for kind in ("input", "output", "cached"):
            if count := getattr(usage, f"{kind}_tokens"):
                self._measures.model_tokens.labels(route, kind).inc(count)
        if usage.cost_usd:
            self._measures.model_cost.labels(route).inc(usage.cost_usd)

    # --- tools, deliveries, runs --------------------------------------------------------------------------------------

    def _tool_finished(self, entry: Entry, event: events.ToolFinished) -> None:
        seconds = self._seconds(entry, "tool", event.call_id)
        if seconds is not None:
            outcome = "error" if event.is_error else "ok"
            self._measures.tools.labels(_label(event.tool), outcome).observe(seconds)

    def _delivery(self, outcome: str) -> Callable[[Entry, Any], None]:
        def count(entry: Entry, event: Any) -> None:
            seconds = self._seconds(entry, "delivery", event.delivery_id)
            if seconds is not None:
                self._measures.deliveries.labels(outcome).observe(seconds)

        return count

    def _ended(self, status: str) -> Callable[[Entry, Any], None]:
        def count(entry: Entry, event: Any) -> None:
            self._measures.runs.labels(status).inc()

        return count


def _label(tool: str) -> str:
    """Return the name of a tool; for one of an MCP server only the server, since servers name any number of tools."""
    return _PREFIX + tool.removeprefix(_PREFIX).partition("__")[0] if tool.startswith(_PREFIX) else tool
