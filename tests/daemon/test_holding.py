"""Hold, with the real parts of a daemon that is not started, and a clock of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kheish.config import Config
from kheish.daemon import wiring
from kheish.daemon.git import Git
from kheish.daemon.holding import LONG, Holding
from tests.store import roots

WHY = "git commit is at work here (process 7)."


def made(tmp_path: Path, now: list[float], taken: list[frozenset[str]]) -> tuple[Holding, wiring.Daemon]:
    async def take(paths: frozenset[str]) -> None:
        taken.append(paths)

    daemon = wiring.make(roots.make(tmp_path), Config())
    parts: Any = (daemon.facts, daemon.problems, daemon.store.next_cut, Git(daemon.store.git), daemon.watcher)
    return Holding(*parts, take, clock=lambda: now[0]), daemon


async def test_a_hold_becomes_a_problem_after_ten_minutes_and_none_when_it_is_over(tmp_path: Path) -> None:
    now = [1000.0]
    holding, daemon = made(tmp_path, now, [])

    holding.held(WHY)
    now[0] += LONG - 1
    holding.held(WHY)
    assert daemon.facts.held == WHY and daemon.problems.list() == []

    now[0] += 61
    holding.held(WHY)

    (problem,) = daemon.problems.list()
    assert (problem["code"], problem["severity"]) == ("git_hold", "warning")
    assert "for 11 minutes" in problem["message"] and WHY in problem["message"]

    await holding.over()

    assert daemon.problems.list() == [] and daemon.facts.held is None
    await daemon.problems.write()


async def test_each_hold_has_ten_minutes_of_its_own(tmp_path: Path) -> None:
    now = [1000.0]
    holding, daemon = made(tmp_path, now, [])
    for _ in range(3):
        holding.held(WHY)
        now[0] += LONG / 2
        holding.held(WHY)
        await holding.over()
        now[0] += LONG

    assert daemon.problems.list() == []


async def test_what_a_person_edits_meanwhile_is_taken_up_together_afterwards(tmp_path: Path) -> None:
    taken: list[frozenset[str]] = []
    holding, daemon = made(tmp_path, [0.0], taken)
    await daemon.store.git.start()
    merging = daemon.state.root / ".git" / "MERGE_HEAD"
    merging.touch()

    await holding.changed(frozenset({"routes/a.yaml"}))
    await holding.changed(frozenset({"personas/b.md"}))

    assert taken == [] and "merge" in (daemon.facts.held or "")
    merging.unlink()
    await holding.over()
    assert taken == [frozenset({"routes/a.yaml", "personas/b.md"})]
    await daemon.store.git.close()
