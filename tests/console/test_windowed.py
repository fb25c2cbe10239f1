"""Long lists: only rows near the screen are in the document, no place on it is empty, and nothing jumps.

`make console` runs it. The rows are made up in the browser's network, since it is their number that counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.console.browser import open_page
from tests.support.daemon import Daemon

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route

ROWS = 2000
NODES = 1500
pytestmark = pytest.mark.console
FRAMES = "const frames = async () => { for (let i = 0; i < 5; i += 1) await new Promise(requestAnimationFrame); };"
#: scroll to random places: the most elements, and the places at which the middle of the screen has no row
JUMP = f"""async () => {{
  {FRAMES}
  let most = 0, empty = 0;
  for (let i = 1; i < 40; i += 1) {{
    scrollTo(0, (document.documentElement.scrollHeight - innerHeight) * ((i * 37) % 40) / 40);
    await frames();
    most = Math.max(most, document.querySelectorAll("*").length);
    if (!document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest("[data-at]")) empty += 1;
  }}
  return [most, empty];
}}"""
#: scroll up over rows that were never measured: the pixels by which a row on the screen moved too much or too little
UP = f"""async () => {{
  {FRAMES}
  scrollTo(0, document.documentElement.scrollHeight * 0.37);
  await frames();
  let worst = 0;
  for (let i = 0; i < 40; i += 1) {{
    const row = [...document.querySelectorAll("[data-at]")].find((one) => one.getBoundingClientRect().top > 100);
    const {{ at }} = row.dataset, top = row.getBoundingClientRect().top;
    scrollBy(0, -90);
    await frames();
    const now = document.querySelector(`[data-at="${{at}}"]`).getBoundingClientRect().top;
    worst = Math.max(worst, Math.abs(now - top - 90));
  }}
  return worst;
}}"""


@pytest.fixture(params=[1280, 390])
def page(context: BrowserContext, daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The list of a great many runs, at the width of a desk and of a phone."""
    run: dict[str, Any] = daemon.http("GET", "/v1/runs?limit=1").json()["items"][0]

    def row(number: int) -> dict[str, Any]:
        text = f"Row {number} " + "and words " * (number % 17)
        return {**run, "run_id": f"run_{number}", "request": {**run["request"], "items": [{"text": text}]}}

    def serve(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        begin, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        end = min(ROWS, begin + limit)
        route.fulfill(
            json={"items": list(map(row, range(begin, end))), "next_cursor": str(end) if end < ROWS else None}
        )

    page = context.new_page()
    page.set_viewport_size({"width": request.param, "height": 850})
    page.route("**/v1/runs?*", serve)
    open_page(page, daemon, "runs")
    yield page


def test_a_long_list_is_windowed(page: Page) -> None:
    page.wait_for_function(
        """last => {
          scrollTo(0, document.documentElement.scrollHeight);
          return document.querySelector(`[data-at="${last}"]`);
        }""",
        arg=str(ROWS - 1),
    )
    page.wait_for_selector(f"text=/^{ROWS:,} rows$/")
    most, empty = page.evaluate(JUMP)
    assert most <= NODES and empty == 0
    assert page.evaluate(UP) <= 1
    assert page.locator("[data-window]").get_attribute("aria-rowcount") == str(ROWS + 1)
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_selector("[data-at='0']")
    for number in range(60):
        page.keyboard.press("j")
        page.wait_for_function("at => document.activeElement.dataset.at === at", arg=str(number))
