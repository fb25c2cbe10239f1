"""A proxy on a free port of loopback that adds a bearer token to each request, for programs that take none."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


def _piped(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, target: tuple[str, int], token: str) -> None:
    """Pass one request and its answer on; each has a connection of its own."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := client.recv(1 << 16)):
            return client.close()
        head += data
    first, rest = head.split(b"\r\n", 1)
    lines = rest.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    added = [b"Authorization: Bearer " + token.encode(), b"Connection: close"]
    with client, socket.create_connection(target) as server:
        server.sendall(b"\r\n".join([first, *added, *kept]))
        back = threading.Thread(target=_piped, args=(server, client), daemon=True)
        back.start()
        _piped(client, server)
        back.join()
    return None


@contextlib.contextmanager
def proxying(url: str, token: str) -> Iterator[str]:
    """Serve a proxy for the server at `url`: its own URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=_serve, args=(client, (host, int(port)), token), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://localhost:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
