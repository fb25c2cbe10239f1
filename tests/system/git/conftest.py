"""One daemon for all rows of the table that a process tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, allow, git
from tests.system.git.table import SESSIONS, TURNS, Table, clone


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("git")
    permissions = allow("echo *")
    with Daemon.fresh(folder, permissions=permissions, routes={"ledger": TURNS}) as daemon:
        git(daemon.root, "config", "user.name", "Ada")
        git(daemon.root, "config", "user.email", "ada@example.org")
        for number in range(SESSIONS):
            daemon.client.sessions.create(f"s{number}")
        table = Table(daemon)
        table.settled()
        for number in range(5):  # so that each commit to which a row goes back has the sessions
            table.mine(f"my notes {number}\n")
        table.settled()
        yield table


@pytest.fixture
def table(served: Table) -> Iterator[Table]:
    """The state root, quiet; when the test is done, all must be well again, and the daemon goes on committing."""
    yield served
    served.give_up()
    git(served.root, "reset", "-q", "--", "notes.md", check=False)
    git(served.root, "checkout", "-q", "--", "notes.md", check=False)
    served.settled()


@pytest.fixture
def other(table: Table, tmp_path: Path) -> Path:
    """Another clone of the same remote."""
    git(table.root, "remote", "remove", "origin", check=False)
    return clone(table, tmp_path)
