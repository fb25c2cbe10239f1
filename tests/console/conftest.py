"""One daemon with a full state root and one browser for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.console import browser, scene
from tests.support.daemon import Daemon

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser; tests that need it are skipped where there is none."""
    with browser.launched() as launched:
        yield launched


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with scene.served(tmp_path_factory.mktemp("console")) as served:
        yield served


@pytest.fixture
def seen() -> browser.Seen:
    return browser.Seen()


@pytest.fixture
def context(chromium: Browser, daemon: Daemon, seen: browser.Seen) -> Iterator[BrowserContext]:
    """A logged-in browser, whose faults are the test's: script errors, policy violations, requests off loopback."""
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(30_000)
    seen.watch(made)
    browser.log_in(made, daemon)
    yield made
    made.close()
    assert not seen.faults
