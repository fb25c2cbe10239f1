"""A stand-in daemon for each test, and an environment that names no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_standin import Standin, serving


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KHEISH_URL", "KHEISH_TOKEN", "KHEISH_TOKEN_FILE", "KHEISH_STATE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Standin]:
    with serving(tmp_path / "state") as standin:
        yield standin


@pytest.fixture
def at(daemon: Standin, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The stand-in, found by the environment as a person's daemon would be."""
    monkeypatch.setenv("KHEISH_STATE_ROOT", str(daemon.root))
    for noun in ("runs", "approvals", "questions", "flows"):  # short ids of tests are looked up
        daemon.answers[f"GET /v1/{noun}"] = 200, {"items": [], "next_cursor": None}
    return daemon
