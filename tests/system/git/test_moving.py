"""Rows of the table: pulls, rebases, picks, conflicts, branches, packing, and locks that somebody left."""

from __future__ import annotations

from pathlib import Path

import pytest

from kheish.errors import NotFound
from tests.support.daemon import git, until
from tests.system.git.table import Table, clone, edit_there, persona

pytestmark = pytest.mark.git_table


@pytest.fixture
def other(table: Table, tmp_path: Path) -> Path:
    """Another clone of the same remote."""
    git(table.root, "remote", "remove", "origin", check=False)
    return clone(table, tmp_path)


def said(table: Table, name: str) -> str:
    """The persona in force; empty where there is none yet."""
    try:
        return str(table.daemon.client.definitions("personas").text(name).text)
    except NotFound:
        return ""


@pytest.mark.parametrize("how", ["--no-rebase", "--rebase"])
def test_a_pull_of_a_definition_is_taken_up(table: Table, other: Path, how: str) -> None:
    edit_there(other, f"pulled with {how}")
    with table.at_work():
        table.insist("pull", "-q", "--no-edit", how, "origin", "main")

    until(lambda: "pulled with" in said(table, "there"), what="the edit is in force")
    table.settled()
    assert f"there: pulled with {how}" in table.log()


def test_a_conflict_is_the_persons_and_the_daemon_waits(table: Table, other: Path) -> None:
    edit_there(other, "one")
    table.git("fetch", "-q", "origin")
    table.daemon.write("personas/there.md", persona("two"))
    until(lambda: "two" in git(table.root, "show", "HEAD:personas/there.md", check=False), what="mine is committed")
    with table.at_work():
        until(
            lambda: (
                not table.git("merge", "-q", "origin/main", check=False) and (table.root / ".git/MERGE_HEAD").exists()
            )
        )
        table.held("merge")
        head = git(table.root, "rev-parse", "HEAD")
        table.run("10s")
        assert git(table.root, "rev-parse", "HEAD") == head
        assert "two" in said(table, "there")
        table.daemon.write("personas/there.md", persona("both"))
        table.insist("add", "personas/there.md")
        table.insist("commit", "-q", "-m", "merged by hand")

    until(lambda: "both" in said(table, "there"), what="the merge is in force")
    assert "merged by hand" in table.log()


def test_an_interactive_rebase_of_my_commits(table: Table) -> None:
    editing = {"GIT_SEQUENCE_EDITOR": "sed -i 2s/pick/fixup/", "GIT_EDITOR": "true"}
    for number in range(3):
        table.daemon.write("notes.md", f"note {number}\n")
        table.insist("add", "notes.md")
        table.insist("commit", "-q", "-m", f"note {number}")
    with table.at_work():
        for _ in range(5):  # git gives up where a journal changed while it began
            git(table.root, "rebase", "-q", "-i", "HEAD~2", check=False, **editing)
            if not (table.root / ".git" / "rebase-merge").exists():
                break
            git(table.root, "rebase", "--abort", check=False)

    table.settled()
    assert git(table.root, "show", "HEAD:notes.md") == "note 2\n"


def test_a_cherry_pick(table: Table, other: Path) -> None:
    edit_there(other, "picked")
    table.git("fetch", "-q", "origin")
    with table.at_work():
        table.insist("cherry-pick", "origin/main")

    until(lambda: "picked" in said(table, "there"), what="it is in force")


@pytest.mark.parametrize("where", [("switch", "-q", "-c"), ("switch", "-q", "--detach")])
def test_away_from_the_branch_the_daemon_holds_until_i_am_back(table: Table, where: tuple[str, ...]) -> None:
    with table.at_work():
        table.insist(*where, *(["side", "HEAD~1"] if "-c" in where else ["HEAD~1"]))
        table.held("git switch main")
        head = git(table.root, "rev-parse", "main")
        done = table.run("10s")
        assert table.daemon.client.runs.get(done).data["status"] == "completed"
        assert git(table.root, "rev-parse", "main") == head
        table.insist("switch", "-q", "-f", "main")

    table.settled()
    table.git("branch", "-q", "-D", "side", check=False)


@pytest.mark.parametrize("words", ["gc -q", "repack -adq", "maintenance run --quiet", "gc -q --prune=now"])
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
