"""`/metrics` in the text format of Prometheus: what was counted, and what is read from the index when asked for."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Iterator

from falcon.asgi import Request, Response
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import runs

#: whole numbers are shown as such
_WHOLE = re.compile(rb"(?<=\d)\.0$", re.MULTILINE)


class Metrics:
    """The resource of `/metrics`: counts of objects, waits and answers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def metrics(self, req: Request, resp: Response) -> None:
        """Answer with all metrics."""
        text = await asyncio.to_thread(self._read)
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = _WHOLE.sub(b"", text)

    def _read(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Now(self._services))
        return generate_latest(self._services.measures.registry) + generate_latest(registry)


class _Now(Collector):
    """The metrics whose values are those of the moment."""

    def __init__(self, services: Services) -> None:
        self._state = services.state
        self._answered = services.answered
        self._feed = services.feed
        self._rejected = services.ingress.rejections
        self._workers = services.workers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Blocks on the index."""
        state, index = self._state, self._state.index
        yield CounterMetricFamily("kheish_events", "Events appended.", state.n)
        yield GaugeMetricFamily("kheish_event_durable", "The newest event on disk.", state.durable_n)
        yield GaugeMetricFamily("kheish_event_indexed", "The newest event in the index.", state.journaled_n)
        yield GaugeMetricFamily("kheish_sessions_loaded", "Sessions in memory.", len(state.sessions))
        live = GaugeMetricFamily("kheish_runs", "Unfinished runs.", labels=("status",))
        for status in sorted(runs.LIVE):
            live.add_metric([str(status)], index.count("run", (str(status),)))
        yield live
        for noun in ("approval", "question"):
            about = f"Pending {noun}s."
            yield GaugeMetricFamily(f"kheish_{noun}s_pending", about, index.count(noun, ("pending",)))
        yield GaugeMetricFamily("kheish_event_streams", "Open event streams.", self._feed.streams)
        answered = CounterMetricFamily("kheish_http_requests", "Requests answered.", labels=("method", "status"))
        for (method, number), count in sorted(self._answered.items()):
            answered.add_metric([method, str(number)], count)
        yield answered
        rejected = CounterMetricFamily(
            "kheish_ingress_rejected", "Requests to connectors without a valid proof.", labels=("connector",)
        )
        for connector_id, count in sorted(self._rejected.items()):
            rejected.add_metric([connector_id], count)
        yield rejected
        yield from self._of_workers()
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily("kheish_cpu_seconds", "CPU time.", used.ru_utime + used.ru_stime)

    def _of_workers(self) -> Iterator[Metric]:
        health = self._workers.health() if self._workers is not None else {}
        labels = ("worker",)
        connected = GaugeMetricFamily("kheish_worker_connected", "Whether a worker is connected.", labels=labels)
        calls = GaugeMetricFamily("kheish_worker_calls", "Calls that are open on a worker.", labels=labels)
        lost = CounterMetricFamily("kheish_worker_reconnects", "Lost connections of a worker.", labels=labels)
        for worker, one in sorted(health.items()):
            assert self._workers is not None
            connected.add_metric([worker], float(one.status == "connected"))
            calls.add_metric([worker], self._workers.open_calls(worker))
            lost.add_metric([worker], one.reconnects)
        yield from (connected, calls, lost)


OPERATIONS = bind(Metrics, get("/metrics", Metrics.metrics, "Get counters for Prometheus.", None, media="text/plain"))
