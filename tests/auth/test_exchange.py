"""One exchange over HTTP with servers that misbehave, on the event loop of the daemon."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kheish.auth import netguard, outgoing
from kheish.auth.netguard import Answer
from kheish.errors import FetchFailed, Invalid, NotConnected

Serve = Callable[[socket.socket], None]
LOOPBACK = ("127.0.0.1", "here.example")


@contextlib.contextmanager
def server(answer: Serve) -> Iterator[int]:
    """Serve connections one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError, ssl.SSLError), connection:
                    answer(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def said(raw: bytes) -> Serve:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)

    return answer


def ask(serve: Serve, path: str = "/", **more: object) -> Answer:
    with server(serve) as port:
        given = {"allow": LOOPBACK, "timeout": 20.0, **more}
        return uvloop.run(netguard.send("POST", f"http://127.0.0.1:{port}{path}", **given))  # type: ignore[arg-type]


def test_an_answer_counts_that_comes_before_the_whole_request() -> None:
    def early(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        time.sleep(0.05)  # the rest of the request is never read: the kernel resets the connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    answer = ask(early, content=b"x" * 20_000_000)
    assert (answer.status, answer.body) == (413, b"big")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "no valid HTTP|without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + b"HTTP/1.1 200 OK\r\n\r\n", "does not answer by HTTP"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", "no valid HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", "no valid HTTP"),
    ],
)
def test_the_end_of_a_request_without_a_whole_answer_is_unknown(raw: bytes, why: str) -> None:
    with pytest.raises(FetchFailed, match=why):
        ask(said(raw), content=b"x")


def test_interim_answers_are_passed_over_and_headers_are_joined() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"
    answer = ask(said(interim + b"HTTP/1.1 200 OK\r\nA: 1\r\nA: caf\xe9\r\n\r\nend"))
    assert (answer.status, answer.body, answer.headers["a"]) == (200, b"end", "1, café")


def test_chunks_of_one_byte_do_not_hold_up_the_loop() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 40_000 + b"0\r\n\r\n"

    async def beside(work: Awaitable[Answer]) -> tuple[Answer, int]:
        import asyncio

        turns, task = 0, asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return await task, turns

    with server(said(raw)) as port:
        url = f"http://127.0.0.1:{port}/"
        answer, turns = uvloop.run(beside(netguard.send("GET", url, allow=LOOPBACK)))
    assert answer.body == b"a" * 40_000 and turns > 500


def test_a_request_that_http_does_not_allow_is_refused_without_its_secret() -> None:
    with pytest.raises(Invalid, match="A line break") as error:
        ask(said(b""), headers={"Authorization": "Bearer s3cret\n"})
    assert "s3cret" not in str(error.value) and "s3cret" not in repr(error.value.__cause__)


def test_characters_beyond_ascii_arrive_as_utf_8() -> None:
    seen: list[bytes] = []

    def keep(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    assert ask(keep, "/café?q=ü%20", headers={"X-Name": "Zoë"}, content=b"").status == 204
    assert seen[0].startswith(b"POST /caf%C3%A9?q=%C3%BC%20 HTTP/1.1\r\n")
    assert "X-Name: Zoë\r\n".encode() in seen[0] and b"Content-Length: 0\r\n" in seen[0]


def test_a_closed_port_means_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    with pytest.raises(NotConnected):
        uvloop.run(netguard.send("POST", f"http://127.0.0.1:{port}/", allow=LOOPBACK, content=b"x"))


def certificate(folder: Path, host: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, private = folder / f"{host}.pem", folder / f"{host}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return str(cert), str(private)


@pytest.mark.parametrize(("host", "is_trusted", "fits"), [("here.example", True, True), ("here.example", False, False),
                                                        ("there.example", True, False)])  # fmt: skip
def test_tls_needs_a_certificate_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, is_trusted: bool, fits: bool
) -> None:
    cert, key = certificate(tmp_path, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            said(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")(secured)  # type: ignore[arg-type]

    async def resolve(name: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    trusting = ssl.create_default_context(cafile=cert if is_trusted else None)
    monkeypatch.setattr(outgoing, "https", lambda: trusting)
    with server(answer) as port:
        work = netguard.send("POST", f"https://here.example:{port}/", allow=LOOPBACK, content=b"x", resolve=resolve)
        if fits:
            assert uvloop.run(work).body == b"ok"
            return
        with pytest.raises(NotConnected, match="certificate"):
            uvloop.run(work)
