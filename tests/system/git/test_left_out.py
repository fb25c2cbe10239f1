"""Files that git keeps out of the work tree, or was told to leave alone: removed by nobody, and never committed so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, bash, git, insist, until
from tests.system.conftest import Fresh

PERSONA = "---\ndisplay_name: Ada\n---\nhi\n"
MARKED = ("--skip-worktree", "--assume-unchanged")


def names(daemon: Daemon) -> set[str]:
    return set(git(daemon.root, "ls-tree", "-r", "--name-only", "HEAD").splitlines())


def people(daemon: Daemon) -> set[str]:
    """What a person has there, as the last commit has it."""
    tops = ("routes/", "personas/", "secrets/", "playbooks/", "kheish.yaml", "permissions.yaml")
    return {name for name in names(daemon) if name.startswith(tops)}


def settled(daemon: Daemon) -> None:
    """What came before has been looked at, edits too: they are taken in order."""
    daemon.write("routes/last.yaml", f"driver: scripted\nscript: {{turns: [{{text: '{time.monotonic()}'}}]}}\n")
    text = (daemon.root / "routes/last.yaml").read_text()
    until(lambda: git(daemon.root, "show", "HEAD:routes/last.yaml", check=False) == text, what="an edit after it")


@pytest.mark.found("B5")
@pytest.mark.parametrize("options", [(), ("--sparse-index",)], ids=["cone", "sparse index"])
def test_a_sparse_checkout_removes_nothing(fresh: Fresh, options: tuple[str, ...]) -> None:
    daemon = fresh(routes={"large": [bash("seq 1 6000"), {"text": "{{last_result}}"}], "last": [{"text": "x"}]})
    daemon.client.secrets.put("deploy", "hunter2-hunter2")
    daemon.write("personas/ada.md", PERSONA)
    daemon.client.sessions.create("s", route="large")
    assert daemon.client.runs.start("s", "go", wait="20s").status == "completed"
    until(lambda: "personas/ada.md" in names(daemon), what="the persona is committed")
    daemon.quiet()
    before = people(daemon)

    git(daemon.root, "sparse-checkout", "set", *options, "routes")
    assert not (daemon.root / "secrets").exists()
    settled(daemon)
    for _ in range(2):
        assert people(daemon) == before
        assert daemon.http("GET", "/v1/personas/ada").status_code == 200
        assert [one["slot"] for one in daemon.client.secrets.list()["items"]] == ["deploy"]
        run = daemon.client.runs.start("s", "again", wait="20s")
        assert run.status == "completed", run.data["error"]
        assert daemon.http("PUT", "/v1/secrets/other", {"value": "hunter3-hunter3"}).status_code == 503
        daemon.restart()
    git(daemon.root, "sparse-checkout", "disable")
    settled(daemon)
    daemon.quiet()
    assert people(daemon) == before and (daemon.root / "secrets/recipients.txt").exists()
    deleted = git(daemon.root, "log", "--diff-filter=D", "--name-only", "--format=").split()
    assert not [name for name in deleted if not name.startswith("pending/")]


def test_what_git_was_told_to_leave_alone_is_not_committed(fresh: Fresh) -> None:
    daemon = fresh(routes={"skipped": [{"text": "a"}], "assumed": [{"text": "a"}], "last": [{"text": "x"}]})
    daemon.quiet()
    paths = [daemon.root / "routes" / f"{name}.yaml" for name in ("skipped", "assumed")]
    for path, mark in zip(paths, MARKED, strict=True):
        insist(daemon.root, "update-index", mark, str(path.relative_to(daemon.root)))
        path.write_text(path.read_text().replace('"a"', '"mine alone"'))
    (daemon.root / "routes" / "begun.yaml").write_text("driver: scripted\nscript: {echo: true}\n")
    insist(daemon.root, "add", "-N", "routes/begun.yaml")
    until(lambda: "mine alone" in daemon.http("GET", "/v1/routes/assumed").text, what="it is in force")
    settled(daemon)
    assert "mine alone" not in git(daemon.root, "show", "HEAD:routes/skipped.yaml", "HEAD:routes/assumed.yaml")
    assert "routes/begun.yaml" in names(daemon), "what is to be added is a file like any other"
    for path in paths:
        path.unlink()
    settled(daemon)
    daemon.restart()
    settled(daemon)
    assert {"routes/skipped.yaml", "routes/assumed.yaml"} <= names(daemon)
    assert {"skipped", "assumed"} <= {one["id"] for one in daemon.http("GET", "/v1/routes").json()["items"]}
    for path, mark in zip(paths, MARKED, strict=True):
        git(daemon.root, "update-index", mark.replace("--", "--no-"), str(path.relative_to(daemon.root)))
    Path(paths[0]).write_text("driver: scripted\nscript: {echo: true}\n")
    until(lambda: "echo" in git(daemon.root, "show", "HEAD:routes/skipped.yaml"), what="it is committed again")
