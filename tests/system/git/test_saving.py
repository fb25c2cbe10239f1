"""Rows of the table: commands that only look, that add, and that put away and bring back."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from tests.support.daemon import git, until
from tests.system.git.table import EDITING, Table


def test_status_log_diff_show_blame_bundle_and_clone_are_always_safe(table: Table) -> None:
    with table.at_work():
        for words in ("status", "log -3", "diff", "show", "blame kheish.yaml", "bundle create -q .git/b HEAD",
                      "clone -q --no-local . .git/copy"):  # fmt: skip
            table.insist(*words.split())  # a bundle refuses where a commit arrives between its two looks at HEAD

    assert git(table.root / ".git" / "copy", "fsck", "--no-dangling") == ""
    assert table.daemon.client.status()["problems"] == 0


def test_tags_made_moved_and_removed_by_hand_stay_as_they_were_put(table: Table) -> None:
    with table.at_work():
        table.git("tag", "-a", "-m", "one", "one")
        table.git("tag", "light", "HEAD~1")
        table.git("tag", "-f", "one", "HEAD~1")
        table.git("tag", "-d", "light")
        put = table.git("rev-parse", "one^{commit}")

    table.settled()
    assert table.git("tag").split() == ["one"] and table.git("rev-parse", "one^{commit}") == put
    table.git("tag", "-d", "one")


def test_a_commit_with_its_editor_open_goes_in_and_the_daemon_waits_for_it(table: Table) -> None:
    opened, close = table.root / ".git" / "opened", table.root / ".git" / "close"
    script = (
        "import pathlib, sys, time\n"
        f"pathlib.Path({str(opened)!r}).touch()\n"
        f"while not pathlib.Path({str(close)!r}).exists(): time.sleep(0.02)\n"
        "pathlib.Path(sys.argv[1]).write_text('by hand')\n"
    )
    table.mine("mine\n", committed=False)
    with table.at_work():
        table.insist("add", "notes.md")
        editor = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"
        committing = subprocess.Popen(["git", "-c", f"core.editor={editor}", "commit", "-q"], cwd=table.root)
        until(opened.exists, what="the editor is open")
        table.held("git commit")
        time.sleep(0.5)  # the scribe looks at processes every 0.2 s
        before, head = table.journals(), git(table.root, "rev-parse", "HEAD")
        done = table.run("10s")
        time.sleep(EDITING)

        assert table.daemon.client.runs.get(done).data["status"] == "completed"
        assert (table.journals(), git(table.root, "rev-parse", "HEAD")) == (before, head)
        assert table.daemon.client.sessions.get("s1")["session_id"] == "s1"
        close.touch()
        assert committing.wait(20) == 0

    assert "by hand" in table.log()
    opened.unlink()
    close.unlink()


def test_commit_a_goes_in_and_takes_nothing_along_that_the_daemon_has_not_committed(table: Table) -> None:
    table.mine("all of it\n", committed=False)
    with table.at_work():
        table.insist("commit", "-q", "-a", "-m", "everything")

    table.settled()
    assert "everything" in table.log()
    assert table.git("show", "HEAD:notes.md") == "all of it\n"


def test_commit_a_from_a_stale_index_drops_nothing(table: Table) -> None:
    stale = table.root / ".git" / "stale"
    stale.write_bytes((table.root / ".git" / "index").read_bytes())
    with table.at_work():
        table.daemon.run(table.run(), "completed")
        table.mine("more\n", committed=False)
        table.insist("add", "notes.md", GIT_INDEX_FILE=str(stale))
        table.insist("commit", "-q", "-a", "--allow-empty", "-m", "stale", GIT_INDEX_FILE=str(stale))

    table.git("reset", "-q", "--", "notes.md")  # the index proper has not heard of it
    table.settled()
    assert "stale" in table.log()
    assert table.git("show", "HEAD:notes.md") == "more\n"


def test_an_amended_commit_is_taken_as_it_is(table: Table) -> None:
    table.mine("said badly\n")
    with table.at_work():
        table.mine("said better\n", committed=False)
        table.insist("add", "notes.md")
        table.insist("commit", "-q", "--amend", "--no-edit", "--allow-empty")

    table.settled()
    assert table.git("show", "HEAD:notes.md") == "said better\n"


def test_stash_takes_my_change_away_and_pop_brings_it_back(table: Table) -> None:
    before = table.git("show", "HEAD:notes.md")
    table.mine("not yet to be committed\n", committed=False)
    with table.at_work():
        table.insist("stash", "-q")
        assert (table.root / "notes.md").read_text() == before
        table.insist("stash", "pop", "-q")
        assert (table.root / "notes.md").read_text() == "not yet to be committed\n"

    table.insist("commit", "-q", "-m", "now it is", "--", "notes.md")
    table.settled()
    assert table.git("stash", "list") == ""
