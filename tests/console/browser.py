"""A real Chromium for tests: Debian's, without a download, and only on loopback."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.daemon import Daemon

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

AXE = Path(__file__).with_name("axe") / "axe.min.js"
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: a sandbox of tests has no user namespaces, and Chromium's own network services would leave loopback
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
HOSTS = ("127.0.0.1", "localhost")


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Launch the browser; skip the test where Chromium or Playwright is missing."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium-headless-shell")
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


class Seen:
    """What a page reported: errors of scripts, violations of the policy, and requests that left loopback."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        """Collect what all pages of the context report."""
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        context.on("console", lambda message: self._said(message.type, message.text))
        context.on("request", lambda request: self._asked(request.url))
        context.on("response", lambda answer: self._answered(answer.status, answer.url))

    def _said(self, kind: str, text: str) -> None:
        if "Content Security Policy" in text or "violates" in text:
            self.faults.append(f"policy: {text}")
        elif kind == "error" and "Failed to load resource" not in text:
            self.faults.append(f"console: {text}")

    def _answered(self, status: int, url: str) -> None:
        if status == 400 or status >= 500:
            self.faults.append(f"answer: {status} {url}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in HOSTS:
            self.faults.append(f"request: {url}")


def log_in(context: BrowserContext, daemon: Daemon) -> None:
    """Log the browser in: what the button of a link's page sends."""
    code = daemon.http("POST", "/v1/auth/login-links").json()["path"].partition("code=")[2]
    answer = context.request.post(f"{daemon.url}/login", form={"code": code}, max_redirects=0)
    assert answer.status == 303, answer.text()


def open_page(page: Page, daemon: Daemon, path: str) -> None:
    """Open a page of the console, and wait until it shows its content."""
    page.goto(f"{daemon.url}/#/{path}")
    page.wait_for_function("path => document.getElementById('app').dataset.ready === path", arg=path.partition("?")[0])
    page.wait_for_selector("main h1")
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")


def check_accessible(page: Page) -> list[str]:
    """Return the serious findings of axe on the page."""
    page.evaluate(AXE.read_text())  # by the debugger, which the page's policy does not concern
    report: dict[str, Any] = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in report["violations"]
        if one["impact"] in ("serious", "critical")
    ]
