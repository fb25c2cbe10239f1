"""Rows of the table: commands that add, and those that take away."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

import pytest

from tests.support.daemon import git, until
from tests.system.git.table import Table, persona

pytestmark = pytest.mark.git_table


def test_status_log_diff_show_blame_bundle_clone_tag_are_always_safe(table: Table) -> None:
    with table.at_work():
        for words in ("status", "log -3", "diff", "show", "blame kheish.yaml", "bundle create -q .git/b HEAD",
                      "clone -q --no-local . .git/copy", "tag -a -f -m one one"):  # fmt: skip
            table.git(*words.split())
        table.git("tag", "-f", "one", "HEAD~1")

    assert git(table.root / ".git" / "copy", "fsck", "--no-dangling") == ""
    assert table.daemon.client.status()["problems"] == 0


def test_a_commit_with_its_editor_open_goes_in_and_the_daemon_waits_for_it(table: Table) -> None:
    opened, close = table.root / ".git" / "opened", table.root / ".git" / "close"
    script = (
        "import pathlib, sys, time\n"
        f"pathlib.Path({str(opened)!r}).touch()\n"
        f"while not pathlib.Path({str(close)!r}).exists(): time.sleep(0.02)\n"
        "pathlib.Path(sys.argv[1]).write_text('by hand')\n"
    )
    table.daemon.write("notes.md", "mine\n")
    with table.at_work():
        table.git("add", "notes.md")
        editor = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"
        committing = subprocess.Popen(["git", "-c", f"core.editor={editor}", "commit", "-q"], cwd=table.root)
        until(opened.exists, what="the editor is open")
        table.held("git commit")
        time.sleep(0.5)  # the scribe looks at processes every 0.2 s
        before, head = table.journals(), git(table.root, "rev-parse", "HEAD")
        done = table.run("10s")
        time.sleep(1.5)

        assert table.daemon.client.runs.get(done).data["status"] == "completed"
        assert (table.journals(), git(table.root, "rev-parse", "HEAD")) == (before, head)
        assert table.daemon.client.sessions.get("s1")["session_id"] == "s1"
        close.touch()
        assert committing.wait(20) == 0

    assert "by hand" in table.log()


def test_commit_a_from_a_stale_index_drops_nothing(table: Table) -> None:
    with table.at_work():
        stale = table.root / ".git" / "stale"
        stale.write_bytes((table.root / ".git" / "index").read_bytes())
        table.run("10s")
        table.daemon.write("notes.md", "more\n")
        table.insist("add", "notes.md", GIT_INDEX_FILE=str(stale))
        table.insist("commit", "-q", "-a", "--allow-empty", "-m", "stale", GIT_INDEX_FILE=str(stale))

    assert "stale" in table.log()
    assert "more" in git(table.root, "show", "HEAD:notes.md")


def test_stash_and_pop_take_my_edit_away_and_bring_it_back(table: Table) -> None:
    table.daemon.write("personas/terse.md", persona("Be brief."))
    until(lambda: git(table.root, "ls-tree", "HEAD", "personas/terse.md"), what="the persona is committed")
    with table.at_work():
        table.daemon.write("kheish.yaml", (table.root / "kheish.yaml").read_text().rstrip() + "\n# not said yet\n")
        table.insist("stash", "-q")
        table.run("10s")
    table.settled()
    table.git("stash", "pop", check=False)
    table.git("checkout", "-q", "HEAD", "--", "sessions", "journals", check=False)
    table.git("stash", "drop", "-q", check=False)


@pytest.mark.parametrize(
    "words",
    ["checkout -q -- .", "restore .", "reset -q --hard", "reset -q --hard HEAD~3", "checkout -q HEAD~3 -- sessions",
     "rm -rq --cached sessions", "rm -rfq sessions/", "revert --no-edit HEAD"],
)  # fmt: skip
def test_what_takes_files_away_takes_none_of_the_daemons(table: Table, words: str) -> None:
    with table.at_work():
        table.insist(*words.split())

    table.settled()
    assert len(list((table.root / "sessions").glob("*/*/session.yaml"))) == 5


@pytest.mark.parametrize("words", ["reset -q --hard HEAD~2", "checkout -q HEAD~2 -- sessions", "rm -rfq sessions/"])
def test_it_is_put_back_though_nothing_else_happens(table: Table, words: str) -> None:
    before = table.journals()

    table.git(*words.split())

    until(lambda: table.journals().items() >= before.items(), what="the journals are back")


def test_clean_takes_even_the_token_and_the_index_and_all_of_it_is_made_again(table: Table) -> None:
    for _ in range(10):
        table.run()

    table.git("clean", "-fdxq")

    assert not (table.root / ".kheish" / "daemon.json").exists()
    until((table.root / ".kheish" / "daemon.json").exists, what="it says where it is again")
    until(lambda: table.daemon.http("GET", "/readyz").status_code == 200, what="it serves, with a new index")
    until(lambda: table.daemon.http("GET", "/v1/sessions/s1").status_code == 200, what="the index is made again")
    table.settled()
