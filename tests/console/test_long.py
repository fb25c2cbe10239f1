"""A session of 100,000 events: it opens at once, and jumps to any of them. `make console` runs it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.console import browser
from tests.console.browser import open_page
from tests.console.scene import post, run
from tests.support.daemon import Daemon, until

EVENTS = 100_000
BATCH = 200
NODES = 1500
pytestmark = pytest.mark.console


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    config = {"api": {"requests_per_second": None}}
    routes = {"hello": [{"text": "That was {{input}}."}]}
    with Daemon.fresh(tmp_path, config=config, routes=routes) as served:
        yield served


def rename(daemon: Daemon, session: str, times: int) -> None:
    """Give a session many titles, one event each: requests in a pipeline, since it is the events that count."""
    parts = urlsplit(daemon.url)
    head = f"PATCH /v1/sessions/{session} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {daemon.token}\r\n"
    with (
        socket.create_connection((str(parts.hostname), parts.port or 80)) as connection,
        connection.makefile("rb") as got,
    ):
        for begin in range(0, times, BATCH):
            requests = []
            for number in range(begin, begin + BATCH):
                body = json.dumps({"title": f"Title {number}"})
                requests.append(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            connection.sendall("".join(requests).encode())
            for _ in range(BATCH):
                length = 0
                assert b" 200 " in got.readline()
                while (line := got.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                got.read(length)


def is_indexed(daemon: Daemon) -> bool:
    """Return whether the index has caught up with the log."""
    events = daemon.http("GET", "/v1/status").json()["events"]
    return bool(events["journaled"] == events["newest"])


@pytest.mark.demand(30)
def test_a_long_session_opens_at_once_and_jumps_to_any_event(daemon: Daemon, chromium: Any) -> None:
    run(daemon, "long", "hello", "the beginning", "completed")
    rename(daemon, "long", EVENTS // 2)
    post(daemon, "/v1/sessions/long/runs?wait=60s", {"content": "the middle"})
    middle = daemon.http("GET", "/v1/sessions/long").json()["last_n"]
    rename(daemon, "long", EVENTS // 2)
    post(daemon, "/v1/sessions/long/runs?wait=60s", {"content": "the end"})
    assert daemon.http("GET", "/v1/sessions/long").json()["last_n"] > EVENTS
    until(lambda: is_indexed(daemon), 300, what="the index has all of them")
    context = chromium.new_context()
    browser.log_in(context, daemon)
    page = context.new_page()
    open_page(page, daemon, "sessions")
    took = {}
    for name, address in (("the end", "sessions/long"), ("the middle", f"sessions/long?n={middle}")):
        began = time.monotonic()
        page.goto(f"{daemon.url}/#/{address}")
        page.wait_for_selector(f"text=That was {name}.")
        took[name] = time.monotonic() - began
        assert page.evaluate("() => document.querySelectorAll('*').length") <= NODES
        text = page.locator(f"text=That was {name}.").bounding_box()
        assert text is not None and 0 < text["y"] < 720, f"{name} is not on the screen"
    context.close()
    print(took)
    assert max(took.values()) < 3, took  # a second on a quiet machine
