"""A context for one tool call, over a real workspace in a temporary folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kheish.domain.events import RunSettings
from kheish.jobs.runner import Jobs
from kheish.runtime.tools.base import Context


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs")
    yield jobs
    jobs.close()


@pytest.fixture
def context(root: Path, jobs: Jobs) -> Callable[..., Context]:
    base = Context(
        session_id="fix-it",
        run_id="run_1",
        call_id="call_1",
        agent_id="agent_1",
        workspace=root,
        key="fix-it/run_1/call_1",
        state=cast(Any, SimpleNamespace(get=lambda *_: SimpleNamespace(settings=RunSettings(route="hello")))),
        jobs=jobs,
        output=lambda _: None,
    )

    def make(**changes: Any) -> Context:
        return dataclasses.replace(base, **changes)

    return make
