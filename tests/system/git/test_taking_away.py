"""Rows of the table: commands that take files, entries of the index, or commits away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import git, until
from tests.system.git.table import SESSIONS, Table, persona, rows


@pytest.mark.parametrize("words", rows("reset -q --hard", others=("checkout -q -- notes.md", "restore notes.md")))
def test_my_change_is_gone_as_i_said_and_nothing_else_is(table: Table, words: str) -> None:
    before = table.git("show", "HEAD:notes.md")
    table.mine("a mistake\n", committed=False)
    with table.at_work():
        table.insist(*words.split())
        assert (table.root / "notes.md").read_text() == before

    table.settled()
    assert (table.root / "notes.md").read_text() == before


TAKING = ("restore .", "restore --staged --worktree .", "checkout -q -- .", "rm -rq --cached sessions")


@pytest.mark.parametrize(
    "words", rows("reset -q --hard HEAD~3", "checkout -q HEAD~3 -- sessions", "rm -rfq sessions/", others=TAKING)
)
def test_what_takes_files_away_takes_none_of_the_daemons(table: Table, words: str) -> None:
    with table.at_work():
        table.insist(*words.split())

    table.settled()
    assert len(list((table.root / "sessions").glob("*/*/session.yaml"))) == SESSIONS


MOVING = ("reset -q --soft HEAD~4", "reset -q HEAD~4")


@pytest.mark.parametrize("words", rows("update-ref refs/heads/main HEAD~4", others=MOVING))
def test_a_branch_that_was_moved_back_has_all_again_with_the_next_commit(table: Table, words: str) -> None:
    before = git(table.root, "rev-parse", "HEAD").strip()
    with table.at_work():
        table.insist(*words.split())

    table.settled()
    assert git(table.root, "diff", "--diff-filter=D", "--stat", before, "HEAD", "--", "sessions") == ""


def test_a_revert_of_my_commit_is_mine_and_one_of_the_daemons_is_put_back(table: Table) -> None:
    table.mine("right\n")
    table.mine("wrong\n")
    wrong = git(table.root, "rev-parse", "HEAD").strip()
    with table.at_work():
        table.insist("revert", "--no-edit", wrong)
    table.settled()
    assert table.git("show", "HEAD:notes.md") == "right\n" == (table.root / "notes.md").read_text()

    with table.at_work():
        table.insist("revert", "--no-edit", git(table.root, "rev-parse", "HEAD").strip())
    table.settled()


QUIETLY = ("checkout -q HEAD~2 -- sessions", "rm -rfq sessions/")


@pytest.mark.parametrize("words", rows("reset -q --hard HEAD~2", others=QUIETLY))
def test_it_is_put_back_though_nothing_else_happens(table: Table, words: str) -> None:
    before = table.journals()

    table.git(*words.split())

    until(lambda: table.journals().items() >= before.items(), what="the journals are back")


def test_clean_takes_even_the_token_and_the_index_and_all_of_it_is_made_again(table: Table) -> None:
    about = table.root / ".kheish" / "daemon.json"
    (table.root / "stray.txt").write_text("nobody's\n")
    with table.at_work():
        pass
    git(table.root, "clean", "-fdxq", check=False)  # it says so where something is made again at this moment

    assert not (table.root / "stray.txt").exists()
    until(about.exists, what="it says where it is again")
    until(lambda: table.daemon.http("GET", "/readyz").status_code == 200, what="it serves, with a new index")
    until(lambda: table.daemon.http("GET", "/v1/sessions/s1").status_code == 200, what="the index is made again")


def test_an_older_definition_that_git_brings_back_is_taken_up(table: Table) -> None:
    file = Path("personas/terse.md")
    personas = table.daemon.client.definitions("personas")
    commits = []
    for words in ("Be brief.", "Be briefer."):
        table.daemon.write(str(file), persona(words))
        until(lambda words=words: words in git(table.root, "show", f"HEAD:{file}", check=False), what="it is committed")  # type: ignore[misc]
        commits.append(git(table.root, "rev-parse", "HEAD").strip())
    with table.at_work():
        table.insist("restore", "--source", commits[0], str(file))

    until(lambda: "Be brief." in str(personas.text("terse").text), what="it is in force")
    until(lambda: "Be brief." in git(table.root, "show", f"HEAD:{file}"), what="it is committed")
