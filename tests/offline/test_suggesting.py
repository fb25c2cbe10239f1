"""What is said where there is no route: keys that are set, servers that answer, and commands that work."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kheish.offline import suggesting
from tests.support.daemon import CLI, Daemon, until


class Models(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "it\'s-a-model:7b"}]}' if self.path == "/v1/models" else b"<html>")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as serving:
        threading.Thread(target=serving.serve_forever).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_that_only_what_is_there_is_suggested_and_no_key_is_shown(server: str) -> None:
    servers = [("Ollama", f"{server}/v1"), ("vLLM", f"{server}/other"), ("none", "http://127.0.0.1:1/v1")]
    found = list(suggesting.look({"OPENAI_API_KEY": "sk-secret", "GEMINI_API_KEY": " "}, servers))
    assert [one.found for one in found] == [
        "OPENAI_API_KEY is set",
        f"a server answers at {server}/v1 (Ollama?) with it's-a-model:7b",
    ]
    assert "sk-secret" not in str(found)


def test_that_the_commands_add_routes(tmp_path: Path, server: str) -> None:
    found = suggesting.look({"MISTRAL_API_KEY": "x"}, [("Ollama", f"{server}/v1")])
    with Daemon.fresh(tmp_path, settings={"KHEISH_STATE_ROOT": str(tmp_path / "state")}) as daemon:
        for one in found:
            script = f'kheish() {{ {" ".join(CLI)} "$@"; }}; {one.command}'
            subprocess.run(["bash", "-c", script], env=daemon.environment(), check=True, capture_output=True)
        routes = {one["id"]: one for one in daemon.http("GET", "/v1/routes").json()["items"]}
        assert set(routes) == {"local", "mistral"}
        assert "it's-a-model:7b" in daemon.cli("routes", "show", "local").stdout


def test_that_serve_says_it_where_there_is_no_route_only(tmp_path: Path) -> None:
    said = "OPENAI_API_KEY is set; to add it"
    with Daemon.fresh(tmp_path / "a", settings={"OPENAI_API_KEY": "sk-1"}) as daemon:
        until(lambda: said in daemon.stderr(), what="serve says what it finds")
    with Daemon.fresh(tmp_path / "b", settings={"OPENAI_API_KEY": "sk-1"}, routes={"r": [{"text": "hi"}]}) as daemon:
        daemon.client.runs.start(daemon.client.sessions.create("s")["session_id"], "go", wait="10s")
        assert "no route" not in daemon.stderr() and "default route" not in daemon.stderr()


def test_that_serve_says_what_its_default_route_lacks(tmp_path: Path) -> None:
    needy = {"driver": "openai", "model": "m", "auth_ref": "env:KEY_OF_NOBODY"}
    with Daemon.fresh(tmp_path / "a", routes={"main": needy}) as daemon:
        lacks = "Route 'main' is not ready: the daemon's environment has no KEY_OF_NOBODY"
        until(lambda: lacks in daemon.stderr(), what="serve says what the route lacks")
        daemon.stop()
        daemon.write("routes/other.yaml", needy)
        daemon.options = (*daemon.options, "--workspace", str(tmp_path / "none"))
        daemon.start()
        until(lambda: "is not a folder; make it first" in daemon.stderr(), what="serve says what the workspace lacks")
        until(lambda: "There is no default route" in daemon.stderr(), what="serve says that no route is the default")
