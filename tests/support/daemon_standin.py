"""A stand-in for the daemon's HTTP API: answers what a test wrote down, streams what it laid out, notes what was asked.

For tests of the client and the CLI alone: what comes back when the daemon says so, and how a cut stream goes on.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "the-local-token"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Standin:
    """`answers["GET /v1/status"]` is `(status, value)` or a list of them, taken one by one, the last for ever.

    `streams["/v1/events"]`: the events of each connection in turn; it is cut after them.
    """

    url: str
    root: Path
    answers: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[list[bytes]]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def of(self, what: str) -> list[Asked]:
        """What was asked by `METHOD /path`."""
        return [one for one in self.asked if f"{one.method} {one.path}" == what]


def frame(n: int | None, kind: str, run: str = "run_1", **data: Any) -> bytes:
    """One SSE frame as the daemon sends it; without a number a live one."""
    if n is None:
        live = {"live": True, "session": "s", "run": run, **data}
        return f"event: {kind}\ndata: {json.dumps(live)}\n\n".encode()
    line = {"v": 1, "n": n, "seq": n, "at": "2026-11-22T12:00:00.123456Z", "kind": kind, "session": "s", "run": run,
            "actor": "daemon", "data": data}  # fmt: skip
    return f"id: {n}\nevent: {kind}\ndata: {json.dumps(line)}\n\n".encode()


def run_view(status: str = "completed", **more: Any) -> dict[str, Any]:
    """A run as `GET /v1/runs/{id}` answers it."""
    usage = {
        "input_tokens": 9,
        "output_tokens": 1,
        "cached_tokens": 0,
        "model_calls": 1,
        "tool_calls": 0,
        "cost_usd": None,
    }
    return {
        "run_id": "run_1", "session_id": "s", "agent_id": "agent_1", "kind": "input", "status": status,
        "submitted_at": "2026-11-22T12:00:00.000000Z", "started_at": None, "finished_at": None, "queue_position": None,
        "n": 1, "retry_of": None, "route": "local", "model": "m", "pending_approvals": [], "pending_questions": [],
        "request": {"actor": "a", "source": "api", "items": [{"type": "text", "text": "go"}], "metadata": {}},
        "usage": usage, "output": None, "outputs": [], "error": None, "flow": None, **more,
    }  # fmt: skip


def problem(status: int, code: str, detail: str = "It is so.", **more: Any) -> tuple[int, dict[str, Any]]:
    """An answer that is a problem document."""
    return status, {
        "type": f"urn:kheish:error:{code}", "title": code, "status": status, "detail": detail, "code": code,
        "domain": "x", "errors": [], **more,
    }  # fmt: skip


@contextmanager
def serving(root: Path) -> Iterator[Standin]:
    """Serve on a free port, noted in `root/.kheish` as the daemon does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    standin = Standin(f"http://127.0.0.1:{server.server_port}", root)
    server.standin = standin  # type: ignore[attr-defined]
    (root / ".kheish").mkdir(parents=True, exist_ok=True)
    (root / "kheish.yaml").touch()
    (root / ".kheish" / "token").write_text(TOKEN)
    (root / ".kheish" / "daemon.json").write_text(json.dumps({"pid": 1, "url": standin.url}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        standin: Standin = self.server.standin  # type: ignore[attr-defined]
        where = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        standin.asked.append(Asked(self.command, where.path, dict(parse_qsl(where.query)), headers, body))
        if headers.get("accept") == "text/event-stream" and standin.streams.get(where.path):
            self._stream(standin.streams[where.path].pop(0))
        else:
            self._answer(standin, f"{self.command} {where.path}")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def _answer(self, standin: Standin, what: str) -> None:
        found = standin.answers.get(what, problem(404, "not_found", f"There is no {what}."))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        status, value = found
        body = value.encode() if isinstance(value, str) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in standin.headers.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, frames: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for one in frames:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(one), one))
            self.wfile.flush()
        self.close_connection = True  # without the last chunk: cut

    def log_message(self, *_: Any) -> None:
        pass
