"""Rows of the table: pulls, rebases, picks, conflicts, branches, packing, and locks that somebody left."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kheish.errors import NotFound
from tests.support.daemon import git, until
from tests.system.git.table import AGAIN, Table, edit_there, persona, rows


def said(table: Table, name: str) -> str:
    """The persona in force; empty where there is none yet."""
    try:
        return str(table.daemon.client.definitions("personas").text(name).text)
    except NotFound:
        return ""


@pytest.mark.parametrize("how", rows("--no-rebase", "--rebase", others=("--ff-only",)))
def test_a_pull_of_a_definition_is_taken_up(table: Table, other: Path, how: str) -> None:
    if how != "--ff-only":
        edit_there(other, f"pulled with {how}")
    with table.at_work():
        if how == "--ff-only":
            forward(table, other)
        else:
            table.insist("pull", "-q", "--no-edit", how, "origin", "main")

    until(lambda: f"pulled with {how}" in said(table, "there"), what="the edit is in force")
    table.settled()
    assert f"there: pulled with {how}" in table.log()
    assert (table.root / "personas/there.md").read_text() == persona(f"pulled with {how}")


def forward(table: Table, other: Path) -> None:
    """A pull that is only a fast-forward: there must be no commit here between my push and my pull."""

    def pulled() -> bool:
        git(table.root, "push", "-q", "-f", "origin", "main")
        git(other, "fetch", "-q")
        git(other, "reset", "-q", "--hard", "origin/main")
        edit_there(other, "pulled with --ff-only")
        git(table.root, "pull", "-q", "--ff-only", "origin", "main", check=False)
        there = git(other, "rev-parse", "HEAD").strip()
        return there in git(table.root, "log", "--first-parent", "-20", "--format=%H")

    until(pulled, 30, what="a fast-forward")


def test_a_conflict_is_the_persons_and_the_daemon_waits(table: Table, other: Path) -> None:
    edit_there(other, "one")
    table.git("fetch", "-q", "origin")
    table.daemon.write("personas/there.md", persona("two"))
    until(lambda: "two" in git(table.root, "show", "HEAD:personas/there.md", check=False), what="mine is committed")
    with table.at_work():
        until(lambda: merging(table), 30, what="git merges")
        table.held("merge")
        head = git(table.root, "rev-parse", "HEAD")
        table.run("10s")
        assert git(table.root, "rev-parse", "HEAD") == head
        assert "two" in said(table, "there")
        table.daemon.write("personas/there.md", persona("both"))
        table.git("add", "personas/there.md")
        table.git("commit", "-q", "-m", "merged by hand")

    until(lambda: "both" in said(table, "there"), what="the merge is in force")
    assert "merged by hand" in table.log()


def merging(table: Table) -> bool:
    """Begin the merge; git refuses it where a file has changed a moment before."""
    git(table.root, "merge", "-q", "origin/main", check=False)
    begun = (table.root / ".git" / "MERGE_HEAD").exists()
    if not begun:
        time.sleep(AGAIN)
    return begun


def test_an_interactive_rebase_of_my_commits(table: Table) -> None:
    base = git(table.root, "rev-parse", "HEAD").strip()
    table.mine("one\n")
    table.mine("two\n")
    table.daemon.run(table.run(), "completed")
    table.mine("three\n", committed=False)
    table.insist("add", "notes.md")
    table.insist("commit", "-q", "--fixup", ":/^two")
    with table.at_work():
        table.insist("rebase", "-q", "-i", "--autosquash", base, GIT_SEQUENCE_EDITOR="true", GIT_EDITOR="true")

    table.settled()
    assert git(table.root, "show", "HEAD:notes.md") == "three\n" == (table.root / "notes.md").read_text()
    assert not [line for line in table.log(f"{base}..HEAD") if line.startswith("fixup!")]


def test_a_cherry_pick(table: Table, other: Path) -> None:
    edit_there(other, "picked")
    table.git("fetch", "-q", "origin")
    with table.at_work():
        table.insist("cherry-pick", "origin/main")

    until(lambda: "picked" in said(table, "there"), what="it is in force")
    assert "there: picked" in table.log()


@pytest.mark.parametrize("words", ["switch -q -c side HEAD~1", "switch -q --detach HEAD~1"])
def test_away_from_the_branch_the_daemon_holds_until_i_am_back(table: Table, words: str) -> None:
    with table.at_work():
        table.insist(*words.split())
        table.held("git switch main")
        head = git(table.root, "rev-parse", "main")
        done = table.run("10s")
        assert table.daemon.client.runs.get(done).data["status"] == "completed"
        assert git(table.root, "rev-parse", "main") == head
        table.insist("switch", "-q", "main")

    table.settled()
    table.git("branch", "-q", "-D", "side", check=False)


PACKING = ("gc -q", "repack -adq", "maintenance run --quiet")


@pytest.mark.parametrize("words", rows("gc -q --prune=now", others=PACKING))
def test_packing_and_pruning_lose_nothing(table: Table, words: str) -> None:
    with table.at_work():
        table.insist(*words.split())
        table.run("10s")
        table.insist(*words.split())


def test_objects_that_were_pruned_are_written_again_from_the_files(table: Table) -> None:
    path = next(iter(sorted((table.root / "sessions").glob("*/s1/session.yaml")))).relative_to(table.root)
    for name in (str(path), str(path.parent)):
        found = git(table.root, "rev-parse", f"HEAD:{name}").strip()
        table.git("unpack-objects", "-q", check=False)
        (table.root / ".git" / "objects" / found[:2] / found[2:]).unlink(missing_ok=True)
    (table.root / ".git" / "objects" / "pack" / "touched").touch()

    until(lambda: git(table.root, "cat-file", "-t", f"HEAD:{path}", check=False).strip() == "blob", what="it is back")
    (table.root / ".git" / "objects" / "pack" / "touched").unlink()


def test_a_lock_that_a_killed_git_left_is_reported_with_what_to_do(table: Table) -> None:
    lock = table.root / ".git" / "index.lock"
    with table.at_work():
        until(lambda: not lock.exists())
        lock.touch()
        table.held("rm .git/index.lock")
        done = table.run("10s")
        assert table.daemon.client.runs.get(done).data["status"] == "completed"
        lock.unlink()
