"""The world of the API tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.api.harness import World, world


@pytest_asyncio.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    """State, bus, index and API in a folder."""
    async with world(tmp_path) as made:
        yield made
