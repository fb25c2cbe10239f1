"""The jobs of one folder; what a test leaves running is ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kheish.jobs.runner import Jobs


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    made = Jobs(tmp_path / "jobs")
    yield made
    for job_id in made.list():
        await made.stop(job_id, grace=0)
    made.close()
