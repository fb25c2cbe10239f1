"""Traces of a real daemon, at a receiver that decodes them, and its metrics."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import forking
from tests.support.daemon import Daemon, bash, until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CLOCK = Path(__file__).parent.parent / "support" / "clock"
DAYS = 3 * 86400
SECRET = "correct-horse-battery-9"


class Sink(ThreadingHTTPServer):
    """A receiver of OTLP over HTTP; with `status`, it refuses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.status = 200
        self.refused = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for _, request in self.requests
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def of(self, run_id: str) -> list[Any]:
        trace = hashlib.sha256(run_id.encode()).digest()[:16]
        return [span for span in self.spans if span.trace_id == trace]


class Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.server.status == 200:
            request = ExportTraceServiceRequest.FromString(raw)
            self.server.requests.append(({key.lower(): value for key, value in self.headers.items()}, request))
        else:
            self.server.refused += 1
        self.send_response(self.server.status)
        if self.server.status == 307:
            self.send_header("location", self.server.url + "?again=yes")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        found[one.key] = getattr(one.value, kind)
    return found


def nanoseconds(at: str) -> int:
    moment = datetime.fromisoformat(at)
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def problems(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.http("GET", "/v1/problems").json()["items"]
    return found


def test_an_ended_run_is_a_trace_that_is_sent_once(fresh: Callable[..., Daemon], sink: Sink) -> None:
    turns = [bash("echo hidden"), {"text": "it said {{last_result}}"}]
    daemon = fresh(routes={"main": turns}, config={"traces": {"endpoint": sink.url, "headers": "otlp"}})
    daemon.client.secrets.put("otlp", f"x-key={SECRET}")
    until((daemon.root / ".git/kheish/traces.json").exists)
    daemon.client.sessions.create("s", route="main")
    answer = daemon.http(
        "POST", "/v1/sessions/s/runs?wait=30s", {"content": f"use {SECRET}"}, headers={"traceparent": PARENT.upper()}
    )
    run_id = answer.json()["run_id"]

    spans = until(lambda: sink.of(run_id))
    ended = daemon.journal("s")[-1]["n"]
    until(lambda: json.loads((daemon.root / ".git/kheish/traces.json").read_text())["n"] >= ended, what="it is noted")
    daemon.restart()
    second = daemon.http("POST", "/v1/sessions/s/runs?wait=30s", {"content": "go"}).json()["run_id"]
    until(lambda: sink.of(second))

    root, *rest = spans
    lines = [one for one in daemon.journal("s") if one["run"] == run_id]
    times = {one["kind"]: nanoseconds(one["at"]) for one in reversed(lines)}
    assert root.name == "invoke_agent"
    assert sorted(span.name.split()[0] for span in rest) == ["chat", "chat", "execute_tool"]
    assert {span.parent_span_id for span in rest} == {root.span_id} and not root.parent_span_id
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (times["run.started"], times["run.completed"])
    tool = next(span for span in rest if span.name == "execute_tool bash")
    assert (tool.start_time_unix_nano, tool.end_time_unix_nano) == (times["tool.started"], times["tool.finished"])
    assert attributes(tool)["gen_ai.tool.name"] == "bash" and "gen_ai.tool.call.arguments" not in attributes(tool)
    (link,) = root.links
    assert link.trace_id.hex() == PARENT.split("-")[1] and link.span_id.hex() == PARENT.split("-")[2]
    assert all(headers["x-key"] == SECRET for headers, _ in sink.requests)
    ids = [span.span_id for span in sink.spans]
    assert len(ids) == len(set(ids)) and b"hidden" not in b"".join(one.SerializeToString() for one in sink.spans)


def test_content_is_sent_on_request_only_and_without_secrets(fresh: Callable[..., Daemon], sink: Sink) -> None:
    turns = [bash("echo shown"), {"text": "it said {{last_result}}, and sk-unknown0123456789abcdef"}]
    daemon = fresh(routes={"main": turns}, config={"traces": {"endpoint": sink.url, "content": True}})
    daemon.client.secrets.put("horse", SECRET)
    daemon.client.sessions.create("s", route="main")
    until((daemon.root / ".git/kheish/traces.json").exists)
    sink.status = 307
    run_id = daemon.http("POST", "/v1/sessions/s/runs?wait=30s", {"content": f"use {SECRET}"}).json()["run_id"]
    until(lambda: any("which is not followed" in one["message"] for one in problems(daemon)))
    sink.status = 200

    spans = until(lambda: sink.of(run_id))

    text = b"".join(one.SerializeToString() for one in spans)
    assert b"gen_ai.input.messages" in text and b"echo shown" in text
    assert SECRET.encode() not in text and b"sk-unknown" not in text
    families = {one.name: one for one in text_string_to_metric_families(daemon.http("GET", "/metrics").text)}
    counts = {
        (family.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name.endswith(("_count", "_total"))
    }
    assert counts["kheish_model_call_seconds", "main", "ok"] == 2
    assert counts["kheish_tool_call_seconds", "bash", "ok"] == 1
    assert counts["kheish_runs_ended", "completed"] == 1
    assert counts[("kheish_durable_seconds",)] > 0 and counts["kheish_commit_seconds", "committed"] > 0


def test_a_child_links_to_its_parent_and_a_refused_run_stops_no_other(fresh: Callable[..., Daemon], sink: Sink) -> None:
    spawn = {"tool_calls": [{"name": "spawn_agent", "arguments": {"name": "kid", "prompt": "go", "route": "kid"}}]}
    daemon = fresh(
        routes={"main": [spawn, {"text": "done"}], "kid": [{"text": "hello"}]},
        config={"traces": {"endpoint": sink.url}},
    )
    until((daemon.root / ".git/kheish/traces.json").exists)
    sink.status = 400
    daemon.client.sessions.create("s", route="main")
    daemon.client.sessions.create("refused", route="kid")
    daemon.http("POST", "/v1/sessions/refused/runs?wait=30s", {"content": "go"})
    until(lambda: any(one["code"] == "traces_refused" for one in problems(daemon)))
    sink.status = 200

    parent = daemon.http("POST", "/v1/sessions/s/runs?wait=30s", {"content": "go"}).json()["run_id"]
    (child,) = daemon.client.agents.list(parent=daemon.client.sessions.get("s")["agent_id"])["items"]
    run_id = daemon.client.runs.list(session=child["session_id"])["items"][0]["run_id"]

    of_parent, of_child = until(lambda: sink.of(parent))[0], until(lambda: sink.of(run_id))[0]
    (link,) = of_child.links
    assert (link.trace_id, link.span_id) == (of_parent.trace_id, of_parent.span_id)
    assert of_child.trace_id != of_parent.trace_id and not of_child.parent_span_id


def test_a_wait_of_three_days_and_kills_leave_one_whole_trace(
    fresh: Callable[..., Daemon], sink: Sink, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    env = {"PYTHONPATH": forking.on_path(CLOCK), "KHEISH_TEST_CLOCK": str(clock)}
    spawn = {"tool_calls": [{"name": "spawn_agent", "arguments": {"name": "kid", "prompt": "go", "route": "kid"}}]}
    last = {"text": "done", "delay": "2s"}
    daemon = fresh(
        routes={"main": [spawn, bash("id -u"), last], "kid": [{"text": "hello"}]},
        config={"traces": {"endpoint": sink.url}}, env=env,
    )  # fmt: skip
    place = daemon.root / ".git/kheish/traces.json"
    until(place.exists)
    began = place.read_bytes()
    daemon.client.sessions.create("s", route="main")
    run = daemon.client.runs.start("s", "go", wait="30s")
    (approval,) = run.data["pending_approvals"]
    (child,) = daemon.client.agents.list(parent=daemon.client.sessions.get("s")["agent_id"])["items"]
    of_child = daemon.client.runs.list(session=child["session_id"])["items"][0]["run_id"]
    until(lambda: sink.of(of_child))
    until(lambda: place.read_bytes() != began, what="the position is noted")
    daemon.kill9()
    clock.write_text(str(DAYS))
    daemon.start()
    daemon.client.approvals.resolve(approval, "allow")
    until(lambda: daemon.kinds("s").count("model.requested") == 3, what="the last model call is open")
    daemon.restart()
    assert daemon.run(run.run_id)["status"] == "completed"

    root, *rest = until(lambda: sink.of(run.run_id))

    assert Counter(span.name for span in rest) == Counter({
        "chat": 4, "execute_tool spawn_agent": 1, "execute_tool bash": 1,
    })  # fmt: skip
    assert {span.parent_span_id for span in rest} == {root.span_id}
    cut = [span for span in rest if attributes(span).get("error.type") == "interrupted"]
    assert [attributes(span)["kheish.attempt"] for span in cut] == [1]
    waits = {event.name: event.time_unix_nano for event in root.events}
    assert waits["approval.resolved"] - waits["approval.requested"] >= DAYS * 10**9
    assert root.end_time_unix_nano - root.start_time_unix_nano >= DAYS * 10**9
    assert all(span.end_time_unix_nano - span.start_time_unix_nano < 3600 * 10**9 for span in rest)
    (link,) = sink.of(of_child)[0].links
    assert (link.trace_id, link.span_id) == (root.trace_id, root.span_id)
    ids = [span.span_id for span in sink.spans]
    assert len(ids) == len(set(ids)), "each span once"
