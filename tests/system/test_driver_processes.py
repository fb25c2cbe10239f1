"""Model calls in driver processes of a real daemon: a process killed in the middle of an answer, and their end."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, until

KEY = "sk-of-a-route-0123456789"


class Model(ThreadingHTTPServer):
    """A model server whose first answer stops after its first piece."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.keys: list[str | None] = []
        self.is_cut = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.keys.append(self.headers["authorization"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self._say({"choices": [{"index": 0, "delta": {"content": "half an "}}]})
        if len(self.server.keys) == 1:
            self.server.is_cut.wait(60)
            return
        self._say({"choices": [{"index": 0, "delta": {"content": "answer"}}]})
        self._say({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._say({"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, document: Any) -> None:
        self.wfile.write(b"data: " + json.dumps(document).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.is_cut.set()
        server.shutdown()


def test_a_process_killed_in_the_middle_of_an_answer_costs_one_attempt(tmp_path: Path, model: Model) -> None:
    route = {
        "driver": "openai",
        "model": "m",
        "api_base": f"http://127.0.0.1:{model.server_address[1]}/v1",
        "auth_ref": "env:MODEL_PASS",
    }
    config = {"concurrency": {"driver_processes": 1}}
    with Daemon.fresh(tmp_path, routes={"main": route}, config=config, settings={"MODEL_PASS": KEY}) as daemon:
        daemon.client.sessions.create("s", route="main")
        run_id = daemon.http("POST", "/v1/sessions/s/runs", {"content": "hello"}).json()["run_id"]
        (first,) = until(lambda: daemon.driver_processes() if model.keys else None)
        assert KEY.encode() not in Path(f"/proc/{first}/environ").read_bytes()
        os.kill(first, signal.SIGKILL)

        done = daemon.run(run_id, "completed")
        assert done["usage"]["input_tokens"] >= 40 and model.keys == [f"Bearer {KEY}"] * 2
        failed = [entry for entry in daemon.journal("s") if entry["kind"] == "model.failed"]
        assert [(one["data"]["error_kind"], one["data"]["error"]["retryable"]) for one in failed] == [
            ("transport", True)
        ]
        (second,) = daemon.driver_processes()
        assert second != first

        daemon.write("kheish.yaml", {"concurrency": {"driver_processes": 0}})

        def is_without() -> bool | None:
            answer = daemon.http("POST", "/v1/sessions/s/runs?wait=20s", {"content": "again"})
            assert answer.json()["status"] == "completed", answer.text
            return not daemon.driver_processes() or None

        until(is_without, what="the change of the number takes effect")
