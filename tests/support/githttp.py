"""Smart HTTP on loopback: `git http-backend`, which git ships, behind a tiny CGI stand-in.

    with serving(folder) as server:
        git("clone", f"{server.url}/remote.git")

Bare repositories below the folder are served, and may be pushed to. With `password`, requests must carry it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """What is served: `url` has no credentials; `seen` are the requests' methods and paths."""

    url: str
    password: str | None
    folder: Path
    seen: list[str] = field(default_factory=list)
    broken: bool = False  # while True, every request gets a 503


@contextlib.contextmanager
def serving(folder: Path, *, password: str | None = None) -> Iterator[Served]:
    """Serve the bare repositories of a folder until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}", password, folder)
    server.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, body: bytes) -> None:
        served: Served = self.server.served  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        served.seen.append(f"{self.command} {path}")
        if served.broken:
            return self._answer("503 Service Unavailable", {}, b"")
        if served.password and not self._knows(served.password):
            return self._answer("401 Unauthorized", {"WWW-Authenticate": 'Basic realm="git"'}, b"")
        environ = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(served.folder), "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "ada", "REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": self.command, "PATH_INFO": path,
            "QUERY_STRING": query, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        return self._answer(headers.pop("Status", "200 OK"), headers, content)

    def _knows(self, password: str) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode().endswith(f":{password}")

    def _answer(self, status: str, headers: dict[str, str], content: bytes) -> None:
        self.send_response(int(status.split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
