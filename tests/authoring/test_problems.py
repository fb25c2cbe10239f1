"""Problems: one list for programs, one file for people."""

from __future__ import annotations

from pathlib import Path

from kheish.authoring.problems import Problems
from kheish.store.edits.problems import Problem


async def test_the_file_for_people_says_each_place_and_goes_when_all_is_well(tmp_path: Path) -> None:
    problems = Problems(tmp_path)
    problems.replace("routes/a.yaml", [Problem("routes/a.yaml", 2, 1, "error", "unknown_key", "unknown key 'modell'")])
    problems.add("commit_failed", "", "The disk is full.")
    await problems.write()

    text = (tmp_path / "PROBLEMS.md").read_text()
    assert (
        "## routes/a.yaml\n" in text and "`routes/a.yaml:2:1` error: unknown key 'modell' (unknown_key, since" in text
    )
    assert "## The daemon\n" in text and "- error: The disk is full. (commit_failed" in text

    problems.replace("routes/a.yaml", [])
    problems.clear("commit_failed")
    await problems.write()
    assert not (tmp_path / "PROBLEMS.md").exists() and problems.list() == []


async def test_since_stays_while_a_problem_persists(tmp_path: Path) -> None:
    problems = Problems(tmp_path)
    first = Problem("a", 1, 1, "error", "bad_value", "x")
    problems.replace("a", [first])
    problems.add("held", "", "git is at work for 10 minutes")
    since = {one["code"]: one["since"] for one in problems.list()}

    problems.replace("a", [Problem("a", 5, 1, "error", "bad_value", "x"), Problem("a", 6, 1, "error", "syntax", "y")])
    problems.add("held", "", "git is at work for 11 minutes")

    now = {one["code"]: (one["since"], one["line"], one["message"]) for one in problems.list()}
    assert now["bad_value"] == (since["bad_value"], 5, "x")
    assert now["held"] == (since["held"], None, "git is at work for 11 minutes")
    assert now["syntax"][0] > since["bad_value"]
    await problems.write()


async def test_clearing_by_path_leaves_the_others(tmp_path: Path) -> None:
    problems = Problems(tmp_path)
    for path in ("a", "b"):
        problems.add("damaged_journal", path, "a gap")
    problems.clear("damaged_journal", "a")
    assert [one["path"] for one in problems.list()] == ["b"]
    assert set(problems.list()[0]) == {
        "problem_id", "path", "line", "column", "severity", "code", "message", "suggestion", "since",
    }  # fmt: skip
    await problems.write()
