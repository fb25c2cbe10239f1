"""DNS rebinding, both ways: a page whose name leads to this machine meanwhile talks to the daemon; and a name that was
public when it was looked at leads an agent's fetch to this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kheish.auth import netguard
from kheish.errors import AddressNotAllowed, KheishError
from tests.support.daemon import Daemon
from tests.support.site import Page, Site, serve

OPEN = ("/healthz", "/readyz", "/docs", "/login")
FOREIGN = (
    "evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "evil@127.0.0.1",
    "127.0.0.1@evil.example", "[::1]evil.example", "[::1].evil.example:{port}", "[::1]@evil.example", "localhost:evil",
    "localhost:80:{port}", "localhost..", "localhost,evil.example", "localhost evil.example", "localhost/evil.example",
    "localhost#@evil.example", "localhost?evil.example", "0.0.0.0:{port}", "127.1:{port}", "2130706433", "0x7f000001",
    "[::ffff:127.0.0.1]:{port}", "l\u00f6calhost", "", " ", ":{port}",
)  # fmt: skip
OURS = ("127.0.0.1:{port}", "localhost", "LOCALHOST:{port}", "localhost.", "[::1]:{port}")


class Wire:
    """Bytes to the daemon's port, as no client library would send them."""

    def __init__(self, daemon: Daemon) -> None:
        self.port = int(daemon.url.rpartition(":")[2])
        self.daemon = daemon

    def send(self, request: str, *headers: str) -> tuple[int, str]:
        """Status and body of the answer to one request."""
        head = "\r\n".join([request, *headers, "Connection: close", "", ""]).replace("{port}", str(self.port))
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
            wire.sendall(head.encode("latin-1"))
            answer = b"".join(iter(lambda: wire.recv(65536), b""))
        head, _, body = answer.decode().partition("\r\n\r\n")
        return int(head.split()[1]), body

    def cookie(self) -> tuple[str, str]:
        """The headers of a browser that is logged in."""
        path = self.daemon.http("POST", "/v1/auth/login-links").json()["path"]
        form = {"content-type": "application/x-www-form-urlencoded", "origin": self.daemon.url}
        done = self.daemon.http("POST", "/login", content=path.partition("?")[2], headers=form)
        cookie = done.headers["set-cookie"].partition(";")[0]
        said = self.daemon.http("GET", "/v1/auth/login", headers={"cookie": cookie})
        assert said.status_code == 200
        return f"Cookie: {cookie}", f"Origin: {self.daemon.url}"


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with Daemon.fresh(tmp_path_factory.mktemp("rebinding")) as daemon:
        yield Wire(daemon)


@pytest.fixture(scope="module")
def credentials(wire: Wire) -> list[tuple[str, ...]]:
    return [(), (f"Authorization: Bearer {wire.daemon.token}",), wire.cookie()]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_name_gets_nothing_whatever_it_brings(
    wire: Wire, credentials: list[tuple[str, ...]], host: str
) -> None:
    for shown in credentials:
        assert wire.send("GET /v1/status HTTP/1.1", f"Host: {host}", *shown)[0] in (400, 421)
        assert wire.send("POST /v1/sessions HTTP/1.1", f"Host: {host}", "Content-Length: 0", *shown)[0] in (400, 421)
    for path in (*OPEN, "/openapi.json"):
        status, body = wire.send(f"GET {path} HTTP/1.1", f"Host: {host}", *credentials[1])
        assert status in (400, 421) and "state_root" not in body
    assert wire.daemon.client.sessions.list()["items"] == []


@pytest.mark.parametrize("host", OURS)
def test_a_name_of_this_machine_gets_an_answer(wire: Wire, credentials: list[tuple[str, ...]], host: str) -> None:
    assert wire.send("GET /v1/status HTTP/1.1", f"Host: {host}", *credentials[1])[0] == 200


@pytest.mark.parametrize(
    ("request_line", "hosts"),
    [
        ("GET {path} HTTP/1.1", ("127.0.0.1", "evil.example")),
        ("GET {path} HTTP/1.1", ("evil.example", "127.0.0.1")),
        ("GET {path} HTTP/1.1", ("127.0.0.1", "127.0.0.1")),
        ("GET {path} HTTP/1.1", ()),
        ("GET {path} HTTP/1.0", ()),
        ("GET http://evil.example{path} HTTP/1.1", ("127.0.0.1",)),
        ("GET http://evil.example:{port}{path} HTTP/1.1", ("127.0.0.1:{port}",)),
        ("GET http://127.0.0.1@evil.example{path} HTTP/1.1", ("127.0.0.1",)),
        ("GET HTTP://EVIL.example{path} HTTP/1.1", ("127.0.0.1",)),
        ("GET http://evil.example{path} HTTP/1.1", ()),
        ("CONNECT evil.example:80 HTTP/1.1", ("127.0.0.1",)),
    ],
)
def test_a_request_that_says_two_things_about_its_host(
    wire: Wire, credentials: list[tuple[str, ...]], request_line: str, hosts: tuple[str, ...]
) -> None:
    for path in ("/v1/status", *OPEN):
        said = [f"Host: {host}" for host in hosts]
        assert wire.send(request_line.replace("{path}", path), *said, *credentials[1])[0] in (400, 421), path


def test_the_host_of_the_request_line_counts(wire: Wire, credentials: list[tuple[str, ...]]) -> None:
    line = "GET http://localhost:{port}/v1/status HTTP/1.1"
    assert wire.send(line, "Host: evil.example", *credentials[1])[0] == 200  # as a forward proxy would say it
    forwarded = ("X-Forwarded-Host: localhost", "Forwarded: host=localhost")
    assert wire.send("GET /v1/status HTTP/1.1", "Host: evil.example", *forwarded, *credentials[1])[0] == 421


# --- outbound ---------------------------------------------------------------------------------------------------------

#: stands for a public address: the network that is allowed. The canary is on the same port of 127.0.0.1.
PUBLIC = "127.0.0.2"


@contextmanager
def public_and_canary() -> Iterator[tuple[Site, Site]]:
    with serve({"/": Page(b"public")}, PUBLIC) as public, serve({"/": Page(b"canary")}, port=public.port) as canary:
        yield public, canary


class Rebinding:
    """Answers one list of addresses after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def fetch(url: str, resolve: Rebinding) -> netguard.Answer:
    return await netguard.send("GET", url, allow=[f"{PUBLIC}/32"], resolve=resolve, timeout=5)


async def test_a_name_that_leads_elsewhere_once_it_was_checked() -> None:
    resolve = Rebinding([PUBLIC], ["127.0.0.1"])
    with public_and_canary() as (public, canary):
        answer = await fetch(f"http://rebinding.example:{public.port}/", resolve)
    assert (answer.body, resolve.asked, canary.asked) == (b"public", ["rebinding.example"], [])


@pytest.mark.parametrize("addresses", [["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"], [PUBLIC, "::1"]])
async def test_a_name_with_several_addresses_of_which_one_is_here(addresses: list[str]) -> None:
    with public_and_canary() as (public, canary), pytest.raises(AddressNotAllowed):
        await fetch(f"http://several.example:{public.port}/", Rebinding(addresses))
    assert not public.asked and not canary.asked


@pytest.mark.parametrize(
    "location",
    [
        "/", "//rebinding.example:{port}/", "http://rebinding.example:{port}/", "http://127.0.0.1:{port}/",
        "http://0x7f.1:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://other.example:{port}/",
        "http://rebinding.example.:{port}/", "http://user@rebinding.example:{port}/", "\\\\127.0.0.1:{port}\\",
        "file:///etc/passwd", "http://REBINDING.example:{port}/",
    ],
)  # fmt: skip
async def test_a_redirect_while_the_name_changes(location: str) -> None:
    resolve = Rebinding([PUBLIC], ["127.0.0.1"])
    with public_and_canary() as (public, canary):
        where = location.replace("{port}", str(public.port))
        public.pages["/first"] = Page(status=302, headers={"Location": where})
        with pytest.raises(KheishError):
            await fetch(f"http://rebinding.example:{public.port}/first", resolve)
    assert [path for path, _ in public.asked] == ["/first"] and not canary.asked


async def test_a_name_that_goes_back_and_forth_over_redirects() -> None:
    resolve = Rebinding([PUBLIC], [PUBLIC], ["127.0.0.1"], [PUBLIC])
    with public_and_canary() as (public, canary):
        public.pages["/0"] = Page(status=302, headers={"Location": "/1"})
        public.pages["/1"] = Page(status=307, headers={"Location": "/2"})
        with pytest.raises(AddressNotAllowed):
            await fetch(f"http://rebinding.example:{public.port}/0", resolve)
    assert [path for path, _ in public.asked] == ["/0", "/1"] and not canary.asked


def test_the_state_root_is_not_told_to_who_has_no_name(wire: Wire, tmp_path: Path) -> None:
    _, body = wire.send("GET /v1/status HTTP/1.1", "Host: evil.example")
    assert str(wire.daemon.root) not in body and wire.daemon.token not in body
