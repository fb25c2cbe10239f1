"""A person at work in the state root with plain git, while the daemon serves."""

from __future__ import annotations

import pytest

from tests.crash import checker
from tests.support.daemon import bash, git, until
from tests.system.conftest import Fresh

SHELL = [bash("sleep 0.05; echo {{input}} >> ledger.txt"), {"text": "done"}]


@pytest.mark.demand(11)
@pytest.mark.demand(13)
def test_git_commit_a_in_the_middle_of_it_all_loses_nothing(fresh: Fresh) -> None:
    daemon = fresh(routes={"shell": SHELL})
    names = [f"s{number}" for number in range(4)]
    for name in names:
        daemon.client.sessions.create(name)
    submitted = [daemon.client.runs.start(name, f"{name}.{number}") for number in range(6) for name in names]

    for number in range(3):
        daemon.write("personas/terse.md", f"---\ndisplay_name: Terse\n---\nAnswer in {number + 1} words.\n")
        git(daemon.root, "add", "personas", check=False)
        until(
            lambda n=number: (
                f"person {n}" in git(daemon.root, "log", "--format=%s")
                or (
                    not git(daemon.root, "commit", "-q", "--allow-empty", "-a", "-m", f"person {n}", check=False)
                    and None
                )
            ),
            what="the person's commit",
        )
    for run in submitted:
        daemon.run(run.run_id, "completed")
    daemon.quiet()

    acks = {"runs": [{"id": run.run_id, "session": run.data["session_id"], "n": run.data["n"]} for run in submitted]}
    assert checker.check(daemon.root, acks, daemon.workspace / "ledger.txt") == []
    assert [line for line in git(daemon.root, "log", "--format=%s").splitlines() if line.startswith("person")] == [
        "person 2", "person 1", "person 0",
    ]  # fmt: skip
    assert "3 words" in daemon.client.definitions("personas").text("terse").text


def test_reset_hard_and_stash_do_not_take_the_daemons_files_away(fresh: Fresh) -> None:
    daemon = fresh(routes={"shell": SHELL})
    daemon.client.sessions.create("s")
    first = daemon.client.runs.start("s", "s.1", wait="20s")
    daemon.quiet()
    second = daemon.client.runs.start("s", "s.2")

    git(daemon.root, "stash", "-q", check=False)
    git(daemon.root, "reset", "-q", "--hard", check=False)

    third = daemon.client.runs.start("s", "s.3")
    for run in (first, second, third):
        daemon.run(run.run_id, "completed")
    daemon.quiet()
    acks = {"runs": [{"id": run.run_id, "session": "s"} for run in (first, second, third)]}
    assert checker.check(daemon.root, acks, daemon.workspace / "ledger.txt") == []
