"""Sending of spans by OTLP over HTTP, with OpenTelemetry's own exporter. Only this module imports it, at first use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kheish import resources
from kheish.runtime.traces.span import Span

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import ReadableSpan

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class NotSent(Exception):
    """The failure of an export; the text is the reason."""


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

    exporter = _exporter(endpoint, headers)
    try:
        result = exporter.export([_readable(span) for span in spans])
    except Exception as error:  # the exporter's transport has errors of its own
        raise NotSent(f"{type(error).__name__}: {error}") from error
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry has no types here
    if result is not SpanExportResult.SUCCESS:
        raise NotSent("the receiver did not take them; the daemon's log says why")


def _exporter(endpoint: str | None, headers: str | None) -> OTLPSpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    given: dict[str, Any] = {"endpoint": endpoint} if endpoint is not None else {}
    return OTLPSpanExporter(**given, headers=parsed(headers) or None)


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
