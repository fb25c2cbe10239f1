"""Large channels, boards, changes and inboxes: they open at once, their documents stay small, and all rows are reached.

`make console` runs it. The rows are made up in the browser's network, since it is their number that counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.console.browser import open_page
from tests.support.daemon import Daemon

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

NODES = 1500
pytestmark = pytest.mark.console
Doc = dict[str, Any]
COUNT = "() => document.querySelectorAll('*').length"
#: scroll to the end until its last row is there
END = """at => {
  scrollTo(0, document.documentElement.scrollHeight);
  return document.querySelector(`[data-at="${at}"]`);
}"""


def paged(made: Callable[[int], Doc], rows: int) -> Callable[[Route], None]:
    """Return an answer to requests of a list: the page that the cursor names."""

    def serve(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        begin, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        end = min(rows, begin + limit)
        route.fulfill(json={"items": [made(at) for at in range(begin, end)], "next_cursor": _cursor(end, rows)})

    return serve


def _cursor(end: int, rows: int) -> str | None:
    return str(end) if end < rows else None


def opened(page: Page, daemon: Daemon, path: str, text: str) -> None:
    """Open a page that shows a text, at once and with few elements."""
    open_page(page, daemon, "docs")
    began = time.monotonic()
    page.goto(f"{daemon.url}/#/{path}")
    page.wait_for_selector(f"text={text}")
    took = time.monotonic() - began
    assert took < 3, f"{took:.2f} s"  # a second on a quiet machine
    assert page.evaluate(COUNT) <= NODES


def test_a_channel_of_many_messages_opens_at_its_end(context: BrowserContext, daemon: Daemon) -> None:
    first: Doc = daemon.http("GET", "/v1/channels/deploys/messages?limit=1").json()["items"][0]
    rows = 10_000
    page = context.new_page()
    page.route(
        "**/v1/channels/deploys/messages?*",
        paged(lambda at: {**first, "message_id": f"post_{at}", "text": f"Message {rows - at}. " + "word " * at}, rows),
    )
    opened(page, daemon, "channels/deploys", f"/^Message {rows}\\. $/")
    page.wait_for_function("() => document.querySelector('[name=text]').getBoundingClientRect().bottom <= innerHeight")
    for loaded in (50, 250):
        top = f"text=/^Message {rows - loaded + 1}\\. /"
        page.evaluate("() => scrollTo(0, 0)")
        page.wait_for_selector(top)
        page.click("text=Earlier messages")
        page.wait_for_selector(f"text={loaded + 200} are loaded")
        box = page.locator(top).bounding_box()
        assert box is not None and 0 < box["y"] + box["height"] / 2 < 900, "the reader's place is kept"
        assert page.evaluate(COUNT) <= NODES


def test_a_board_of_many_tasks_is_windowed(context: BrowserContext, daemon: Daemon) -> None:
    board: Doc = daemon.http("GET", "/v1/projects/shop/board").json()
    task = next(column for column in board["columns"] if column["items"])["items"][0]
    rows = 2500

    def made(status: str) -> Callable[[int], Doc]:
        return lambda at: {**task, "task_id": f"{status}-{at}", "title": f"{status} {at}", "status": status}

    def column(status: str) -> Doc:
        return {"status": status, "count": rows, "items": [made(status)(at) for at in range(20)], "next_cursor": "20"}

    columns = [column(one["status"]) for one in board["columns"]]
    page = context.new_page()
    page.route("**/v1/projects/shop/board?*", lambda route: route.fulfill(json={**board, "columns": columns}))
    for one in columns:
        page.route(f"**/v1/projects/shop/tasks?*status={one['status']}*", paged(made(one["status"]), rows))
    opened(page, daemon, "projects/shop", f"{columns[0]['status']} 3")
    page.wait_for_function(END, arg=str(rows - 1), timeout=60_000)
    assert page.evaluate(COUNT) <= NODES
    page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait_for_timeout(200)
    assert page.evaluate(COUNT) <= NODES


def test_many_changed_files_are_windowed(context: BrowserContext, daemon: Daemon) -> None:
    file: Doc = daemon.http("GET", "/v1/sessions/review-17/changes").json()["items"][0]
    diff = file["diff"] + "".join(f"-old {at}\n+new {at}\n" for at in range(400))
    rows = 600
    page = context.new_page()
    page.route(
        "**/v1/sessions/review-17/changes?*", paged(lambda at: {**file, "path": f"file-{at}", "diff": diff}, rows)
    )
    opened(page, daemon, "sessions/review-17/changes", "file-0")
    page.wait_for_function(END, arg=str(rows - 1), timeout=60_000)
    assert page.evaluate(COUNT) <= NODES


def test_a_full_inbox_has_all_and_counts_them(context: BrowserContext, daemon: Daemon) -> None:
    one: Doc = daemon.http("GET", "/v1/approvals?session=deploy-main").json()["items"][0]
    rows = 450
    questions = len(daemon.http("GET", "/v1/questions?status=pending").json()["items"])

    def made(at: int) -> Doc:
        stamp = f"2026-01-01T00:{(rows - at) // 60:02}:{(rows - at) % 60:02}.000Z"
        return {**one, "approval_id": f"appr_{at}", "requested_at": stamp, "arguments": {"command": f"command {at}"}}

    page = context.new_page()
    page.route("**/v1/approvals?*", paged(made, rows))
    open_page(page, daemon, "")
    page.wait_for_selector(f"nav .count:text('{100 + questions}+')")
    page.goto(f"{daemon.url}/#/inbox")
    page.wait_for_selector(f"text={rows + questions} waiting")
    page.wait_for_selector(f"[data-at='0'] >> text=command {rows - 1}")  # the oldest is the first
    assert page.evaluate(COUNT) <= NODES
