"""The runtime over a real State."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.runtime.harness import Live, living


@pytest_asyncio.fixture
async def it(tmp_path: Path) -> AsyncIterator[Live]:
    async with living(tmp_path) as live:
        yield live
