"""`/metrics`: counters in the text format of Prometheus. Each is counted at its source or read from the index."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterable

from falcon.asgi import Request, Response

from kheish.api.http.operation import bind, get
from kheish.api.services import Services
from kheish.domain import runs

Sample = tuple[dict[str, str], float]


class Metrics:
    """The resource of `/metrics`: counts of objects, waits and answers."""

    def __init__(self, services: Services) -> None:
        self._state = services.state
        self._answered = services.answered
        self._feed = services.feed

    async def metrics(self, req: Request, resp: Response) -> None:
        """Answer with all metrics."""
        state = self._state
        counts = await asyncio.to_thread(self._counts)
        live, approvals, questions = counts
        used = resource.getrusage(resource.RUSAGE_SELF)
        requests = [
            ({"method": method, "status": str(status)}, float(count))
            for (method, status), count in sorted(self._answered.items())
        ]
        text = "".join(
            (
                _metric("events", "counter", "Events appended.", [({}, state.n)], "_total"),
                _metric("event_durable", "gauge", "The newest event on disk.", [({}, state.durable_n)]),
                _metric("event_indexed", "gauge", "The newest event in the index.", [({}, state.journaled_n)]),
                _metric("sessions_loaded", "gauge", "Sessions in memory.", [({}, len(state.sessions))]),
                _metric("runs", "gauge", "Unfinished runs.", live),
                _metric("approvals_pending", "gauge", "Pending approvals.", [({}, approvals)]),
                _metric("questions_pending", "gauge", "Pending questions.", [({}, questions)]),
                _metric("event_streams", "gauge", "Open event streams.", [({}, self._feed.streams)]),
                _metric("http_requests", "counter", "Requests answered.", requests, "_total"),
                _metric("cpu_seconds", "counter", "CPU time.", [({}, used.ru_utime + used.ru_stime)], "_total"),
            )
        )
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = text.encode()

    def _counts(self) -> tuple[list[Sample], int, int]:
        index = self._state.index
        live: list[Sample] = [
            ({"status": str(status)}, index.count("run", (str(status),))) for status in sorted(runs.LIVE)
        ]
        return live, index.count("approval", ("pending",)), index.count("question", ("pending",))


def _metric(name: str, kind: str, about: str, samples: Iterable[Sample], suffix: str = "") -> str:
    full = f"kheish_{name}{suffix}"
    lines = [f"# HELP {full} {about}", f"# TYPE {full} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
        shown = f"{value:.0f}" if value == int(value) else f"{value:.6f}"
        lines.append(f"{full}{{{inner}}} {shown}" if inner else f"{full} {shown}")
    return "\n".join(lines) + "\n"


OPERATIONS = bind(Metrics, get("/metrics", Metrics.metrics, "Get counters for Prometheus.", None, media="text/plain"))
