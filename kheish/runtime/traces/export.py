"""Sending of spans by OTLP over HTTP, with OpenTelemetry's own exporter. Only this module imports it, at first use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kheish import resources
from kheish.runtime.traces.span import Span

if TYPE_CHECKING:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan

#: statuses that say that the receiver will never take this request
_NEVER = frozenset({400, 413, 422})

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class NotSent(Exception):
    """The failure of an export; the text is the reason. `is_final`: the receiver will never take these spans."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def is_installed() -> bool:
    """Return whether the extra `kheish[otel]` is installed."""
    from importlib.util import find_spec

    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def is_wanted(endpoint: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether there is an address to send to."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return endpoint is not None or any(environ.get(name) for name in ENDPOINTS)


def parsed(headers: str | None) -> dict[str, str]:
    """Return the headers of a slot's value: `name=value,name=value`."""
    pairs = (one.partition("=") for one in (headers or "").split(","))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals and name.strip()}


def send(spans: Sequence[Span], endpoint: str | None, headers: str | None) -> None:
    """Send spans; the variables OTEL_EXPORTER_OTLP_* apply. Blocks on the network. Raises NotSent."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    session = _guarded()
    exporter = _exporter(endpoint, headers, session)
    try:
        result = exporter.export([_readable(span) for span in spans])
    except Exception as error:  # the exporter's transport has errors of its own
        raise NotSent(f"{type(error).__name__}: {error}") from error
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry has no types here
    status, where = session.answered
    if status is not None and 300 <= status < 400:  # the exporter takes it for a success
        raise NotSent(f"the receiver redirects to {where!r}, which is not followed: set traces.endpoint to it")
    if result is not SpanExportResult.SUCCESS:
        raise NotSent(
            f"the receiver answered {status}" if status else "the receiver did not take them; the log says why",
            is_final=status in _NEVER,
        )


def _exporter(endpoint: str | None, headers: str | None, session: requests.Session) -> OTLPSpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    given: dict[str, Any] = {"endpoint": endpoint} if endpoint is not None else {}
    return OTLPSpanExporter(**given, headers=parsed(headers) or None, session=session)


def _guarded() -> Any:
    """Return a session that follows no redirect and reads no answer but its status and headers.

    `answered` has the status of the newest answer, and the address that it redirects to. The address of the receiver
    is the operator's own, like the `api_base` of a route.
    """
    import requests

    class Guarded(requests.Session):
        answered: tuple[int | None, str] = (None, "")

        def request(self, method: Any, url: Any, *given: Any, **named: Any) -> requests.Response:
            named |= {"allow_redirects": False, "stream": True}
            self.answered = None, ""
            response = super().request(method, url, *given, **named)
            response._content = b""
            response.close()
            self.answered = response.status_code, response.headers.get("location", "").partition("?")[0][:200]
            return response

    return Guarded()


def _readable(span: Span) -> ReadableSpan:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(trace_id: int, span_id: int, *, is_remote: bool = False) -> SpanContext:
        return SpanContext(trace_id, span_id, is_remote, TraceFlags(TraceFlags.SAMPLED))

    links = []
    if span.link is not None:
        _, trace, parent, _ = span.link.split("-")
        links.append(Link(context(int(trace, 16), int(parent, 16), is_remote=True)))
    version = resources.version()
    return ReadableSpan(
        name=span.name,
        context=context(span.trace_id, span.span_id),
        parent=context(span.trace_id, span.parent_id) if span.parent_id is not None else None,
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "kheish",
                                  "service.version": version}),
        attributes=dict(span.attributes),
        events=[Event(one.name, dict(one.attributes), one.at) for one in span.moments],
        links=links,
        kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.error) if span.error is not None else Status(StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=InstrumentationScope("kheish", version),
    )  # fmt: skip
