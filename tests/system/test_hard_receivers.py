"""Receivers that are down for a day, slow, gone, or that send a delivery elsewhere, against a real daemon."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking
from tests.support.daemon import Daemon, until
from tests.support.receiver import Got, Receiver, Reply, receive

pytestmark = pytest.mark.campaign

CLOCK = Path(__file__).parent.parent / "support" / "clock"
HOUR = 3600
FREE = 10.0  # seconds for which the daemon must keep on answering beside a slow receiver


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[str]:
    """A server that answers `first`, and then a little each 0.2 s, without an end."""
    server, is_over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    server.settimeout(0.2)

    def serve_one(link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            link.sendall(first)
            while not is_over.wait(0.2):
                link.sendall(drop)

    def accept() -> None:
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=serve_one, args=(server.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x"
    finally:
        is_over.set()
        thread.join()
        server.close()


def put(daemon: Daemon, name: str, url: str, **more: Any) -> None:
    daemon.client.definitions("outputs").put(name, {"kind": "http", "url": url, **more})


def start(daemon: Daemon, session: str, output: str) -> str:
    daemon.client.sessions.create(session, route="hello", reply_targets=[{"output": output}])
    return str(daemon.client.runs.start(session, "go", wait="30s").run_id)


def of(daemon: Daemon, run_id: str) -> dict[str, Any]:
    return dict(next(iter(daemon.client.deliveries.list(run_id=run_id)["items"]), {}))


def reached(daemon: Daemon, run_id: str, state: str) -> dict[str, Any]:
    return until(
        lambda: (one := of(daemon, run_id)).get("state") == state and one, 60, what=f"{state}: {of(daemon, run_id)}"
    )


def test_a_receiver_that_is_down_for_a_day(tmp_path: Path) -> None:
    clock, port = tmp_path / "clock", unused_port()
    env = {"PYTHONPATH": forking.on_path(CLOCK), "KHEISH_TEST_CLOCK": str(clock)}
    config = {"network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}, config=config, env=env) as daemon:
        put(daemon, "back", f"http://127.0.0.1:{port}/back", order="strict")
        put(daemon, "never", f"http://127.0.0.1:{unused_port()}/never")
        runs = [start(daemon, f"s{number}", "back") for number in range(5)]
        lost = start(daemon, "lost", "never")
        for hours in range(2, 24, 3):
            before = of(daemon, runs[0])["attempts"]
            clock.write_text(str(hours * HOUR))
            until(lambda at=before: of(daemon, runs[0])["attempts"] > at, 60, what=f"a try after {hours} h")
            if hours == 11:
                daemon.kill9()
                daemon.start()
        assert {of(daemon, one)["state"] for one in [*runs, lost]} <= {"pending", "retrying", "delivering"}
        with receive(port=port) as site:
            clock.write_text(str(int(23.5 * HOUR)))
            for run_id in runs:
                reached(daemon, run_id, "delivered")
            assert [one.json["data"]["run_id"] for one in site.got] == runs
        clock.write_text(str(26 * HOUR))
        dead = reached(daemon, lost, "dead_letter")
        assert "accepts no connection" in str(dead), dead


@pytest.fixture(scope="module")
def site() -> Iterator[Receiver]:
    with receive() as made:
        yield made


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(tmp_path_factory.mktemp("hard"), routes={"hello": [{"text": "hi"}]}, config=config) as made:
        yield made


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_time_of_retry_after_is_kept(daemon: Daemon, site: Receiver, form: str) -> None:
    times: list[float] = []

    def answer(got: Got) -> Reply:
        times.append(time.time())
        late = format_datetime(datetime.now(UTC) + timedelta(seconds=5), usegmt=True)
        wait = Reply(429, headers={"Retry-After": "4" if form == "seconds" else late})
        return wait if len(times) == 1 else Reply(204)

    site.answers[f"/{form}"] = answer
    put(daemon, form, f"{site.url}/{form}")
    reached(daemon, start(daemon, form, form), "delivered")
    assert len(times) == 2 and times[1] - times[0] >= 3.9


def test_errors_of_the_server_pass_and_an_end_is_an_end(daemon: Daemon, site: Receiver) -> None:
    left = [500, 502, 503, 500, 200]
    site.answers["/errors"] = lambda got: Reply(left.pop(0))
    put(daemon, "errors", f"{site.url}/errors", retry={"max": "1s", "give_up": "24h"})
    reached(daemon, start(daemon, "errors", "errors"), "delivered")
    got = site.to("/errors")
    assert len(got) == 5 and len({(one.headers["webhook-id"], one.body) for one in got}) == 1
    site.answers["/gone"] = lambda got: Reply(410)
    put(daemon, "gone", f"{site.url}/gone")
    reached(daemon, start(daemon, "gone", "gone"), "dead_letter")
    assert daemon.client.outputs.get("gone")["off_because"] and len(site.to("/gone")) == 1


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("metadata", "http://169.254.169.254/latest"),
        ("loopback", "http://127.0.0.2:1/x"),
        ("loopback6", "http://[::1]:1/x"),
        ("network", "//10.0.0.1/x"),
    ],
)
def test_a_redirect_to_a_private_address_is_not_followed(daemon: Daemon, site: Receiver, name: str, where: str) -> None:
    site.answers[f"/{name}"] = lambda got: Reply(307, headers={"Location": where})
    put(daemon, name, f"{site.url}/{name}")
    dead = reached(daemon, start(daemon, name, name), "dead_letter")
    assert len(site.to(f"/{name}")) == 1 and dead["attempts"] == 1, dead


@pytest.mark.parametrize(
    ("name", "first", "drop"),
    [
        ("silent", b"", b""),
        ("status", b"HTTP/1.1 20", b"0"),
        ("headers", b"HTTP/1.1 200 OK\r\nA: ", b"a"),
        ("interim", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("body", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a"),
        ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    ],
)
def test_a_receiver_that_drips_is_left_in_time(daemon: Daemon, name: str, first: bytes, drop: bytes) -> None:
    with dripping(first, drop) as url:
        put(daemon, f"slow-{name}", url, timeout="1s", on_unknown="hold")
        began = time.monotonic()
        run_id = start(daemon, f"slow-{name}", f"slow-{name}")
        until(lambda: of(daemon, run_id).get("state") in ("held", "retrying"), 30, what=str(of(daemon, run_id)))
        assert time.monotonic() - began < FREE
        assert daemon.http("GET", "/healthz").status_code == 200
    assert of(daemon, run_id)["unknown_end"], of(daemon, run_id)
