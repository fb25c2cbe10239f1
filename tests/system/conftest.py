"""Real daemons: one that all tests of a process share, and fresh ones for tests that kill."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, allow, bash

COMMANDS = ("echo *", "sleep *", "seq *", "cat *", "printenv", "printf *", "exit *")
Fresh = Callable[..., Daemon]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that nobody kills; tests make sessions and routes of their own names."""
    folder = tmp_path_factory.mktemp("shared")
    routes: dict[str, Any] = {
        "hello": [{"text": "hello {{input}}"}],
        "ledger": [bash("echo {{input}} >> ledger.txt"), {"text": "{{last_result}}"}],
        "asks": [bash("id -u"), {"text": "it said {{last_result}}"}],
    }
    settings = {"OPENAI_API_KEY": "sk-very-secret-123", "MY_PASSWORD": "hunter2-hunter2"}
    with Daemon.fresh(folder, permissions=allow(*COMMANDS), routes=routes, settings=settings) as daemon:
        yield daemon


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Fresh]:
    """`fresh(routes={…}, …)`: a served state root of this test's own."""
    with contextlib.ExitStack() as stack:

        def make(**made: Any) -> Daemon:
            made.setdefault("permissions", allow(*COMMANDS))
            return stack.enter_context(Daemon.fresh(tmp_path, **made))

        yield make
