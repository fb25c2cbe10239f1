"""One daemon for all rows of the table that a process tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, allow, git
from tests.system.git.table import SESSIONS, TURNS, Table


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("git")
    permissions = allow("echo *")
    with Daemon.fresh(folder, permissions=permissions, routes={"ledger": TURNS}) as daemon:
        git(daemon.root, "config", "user.name", "Ada")
        git(daemon.root, "config", "user.email", "ada@example.org")
        for number in range(SESSIONS):
            daemon.client.sessions.create(f"s{number}")
        yield Table(daemon)


@pytest.fixture
def table(served: Table) -> Iterator[Table]:
    """The state root after some runs, quiet; when the test is done, all must be well again."""
    served.run("10s")
    served.settled()
    yield served
    for words in ("rebase --abort", "reset -q -- notes.md", "checkout -q -- notes.md"):
        git(served.root, *words.split(), check=False)
    served.settled()
