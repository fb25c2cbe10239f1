"""Backup with real daemons, real git and real remotes: by hand, by itself, over file:// and smart HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import BackupDiverged, BackupFailed, Conflict
from tests.support.daemon import Daemon, git, insist, until
from tests.support.githttp import Served, serving
from tests.system.conftest import Fresh

ECHO = "driver: scripted\nscript: {echo: true}\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A bare repository behind smart HTTP that asks for a password."""
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    with serving(tmp_path, password="s3cret-s3cret") as found:
        yield found


@pytest.fixture
def backed(fresh: Fresh, served: Served) -> Daemon:
    """A daemon whose remote is there, named in kheish.yaml, and pushed to only by command."""
    daemon = fresh(config={"backup": {"remote": "origin"}})
    address = served.url.replace("//", "//ada:s3cret-s3cret@") + "/remote.git"
    git(daemon.root, "remote", "add", "origin", address)
    daemon.client.backup()
    return daemon


@pytest.fixture
def clone(backed: Daemon) -> Path:
    """Another person's clone of what was pushed."""
    folder = backed.root.parent
    git(folder, "clone", "-q", "-b", "main", "remote.git", "clone")
    return folder / "clone"


def push_from(clone: Path, files: dict[str, str]) -> str:
    """Somebody commits and pushes files from another clone; the commit."""
    for name, text in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "from another clone")
    git(clone, "push", "-q")
    return git(clone, "rev-parse", "HEAD").strip()


def routes(daemon: Daemon) -> set[str]:
    return {one["id"] for one in daemon.http("GET", "/v1/routes").json()["items"]}


def problems(daemon: Daemon, code: str) -> list[dict[str, Any]]:
    return [dict(one) for one in daemon.client.problems()["items"] if one["code"] == code]


def test_a_plain_push_of_a_person_is_a_complete_backup(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh(routes={"hello": [{"text": "hello {{input}}"}]})
    daemon.client.sessions.create("s", route="hello")
    daemon.client.runs.start("s", "you", wait="10s")
    daemon.quiet()
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(daemon.root, "remote", "add", "origin", f"file://{tmp_path}/remote.git")
    git(daemon.root, "tag", "-am", "a tag of mine", "mine")
    git(daemon.root, "push", "-q")
    refs = git(tmp_path / "remote.git", "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/heads/main", "refs/tags/mine"]
    files = git(tmp_path / "remote.git", "ls-tree", "-r", "--name-only", "main").split()
    on_disk = {str(path.relative_to(daemon.root)) for path in daemon.root.glob("sessions/**/*") if path.is_file()}
    assert on_disk and on_disk <= set(files)


def test_add_is_all_that_it_takes_and_from_then_on_it_goes_by_itself(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh(routes={"hello": [{"text": "hello"}]})
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    with pytest.raises(Conflict, match="kheish backup add"):
        daemon.client.backup()
    added = daemon.cli("backup", "add", f"file://{tmp_path}/remote.git", "--every", "1s")
    assert added.returncode == 0, added.stderr

    def pushed() -> dict[str, Any] | None:
        return daemon.client.status()["backup"]["pushed"]

    first = until(pushed, what="the first push")
    assert first["url"] == f"file://{tmp_path}/remote.git"
    daemon.client.sessions.create("s", route="hello")
    n = daemon.client.runs.start("s", "you", wait="10s").data["n"]
    until(lambda: (pushed() or {})["n"] >= n, what="the run is in the backup")
    there = git(tmp_path / "remote.git", "log", "--format=%H", "main").split()
    assert first["commit"] in there
    by_hand = daemon.cli("backup", "push", "--quiet")
    assert by_hand.stdout.strip() == git(tmp_path / "remote.git", "rev-parse", "main").strip()
    assert "pushed" in daemon.cli("backup", "status").stdout


def test_a_restore_over_smart_http_has_all_of_it(backed: Daemon, served: Served, tmp_path: Path) -> None:
    backed.write("notes/big.md", "0123456789abcdef\n" * 200_000)  # more than git sends in one piece
    insist(backed.root, "add", "notes")
    insist(backed.root, "-c", "core.bigFileThreshold=1k", "commit", "-qm", "big")
    commit = backed.client.backup()["pushed"]["commit"]
    address = served.url.replace("//", "//ada:s3cret-s3cret@") + "/remote.git"
    done = backed.cli("restore", address, str(tmp_path / "restored"))
    assert done.returncode == 0, done.stderr
    assert git(tmp_path / "restored", "rev-parse", "HEAD").strip() == commit
    assert git(tmp_path / "restored", "status", "--porcelain") == ""
    assert (tmp_path / "restored" / "notes" / "big.md").stat().st_size == 3_400_000


def test_an_edit_from_another_clone_is_merged_taken_in_force_and_pushed(backed: Daemon, clone: Path) -> None:
    theirs = push_from(clone, {"routes/new.yaml": ECHO, "docs/notes.md": "ours\n"})
    backed.write("routes/mine.yaml", ECHO)
    until(lambda: "mine" in routes(backed), what="an edit of our own")

    pushed = backed.client.backup()["pushed"]

    assert {"new", "mine"} <= routes(backed)
    assert (backed.root / "docs" / "notes.md").read_text() == "ours\n"
    remote = backed.root.parent / "remote.git"
    assert git(remote, "rev-parse", "main").strip() == pushed["commit"]
    (merge, parents) = git(remote, "log", "--merges", "--format=%s|%P", "main").strip().split("|")
    assert merge == "merge from origin: docs/notes.md, routes/new.yaml" and parents.split()[1] == theirs
    backed.client.sessions.create("s", route="new")
    assert backed.client.runs.start("s", "works", wait="10s").data["status"] == "completed"
    backed.quiet()
    git(remote, "fsck", "--strict")


def test_an_invalid_edit_is_not_taken_until_it_is_mended(backed: Daemon, clone: Path) -> None:
    push_from(clone, {"routes/new.yaml": "driver: nonsense\n"})
    with pytest.raises(BackupDiverged, match=r"routes/new\.yaml:1:\d+:"):
        backed.client.backup()
    assert len(problems(backed, "backup_diverged")) == 1
    told = backed.root / "PROBLEMS.md"
    until(lambda: told.exists() and "backup_diverged" in told.read_text(), what="PROBLEMS.md says so")
    assert not (backed.root / "routes" / "new.yaml").exists()
    push_from(clone, {"routes/new.yaml": ECHO})
    assert backed.client.backup()["outcome"] == "pushed"
    assert not problems(backed, "backup_diverged")


def test_the_same_file_changed_on_both_sides_waits_for_a_person(backed: Daemon, clone: Path) -> None:
    backed.write("notes.md", "mine\n")
    insist(backed.root, "add", "notes.md")
    insist(backed.root, "commit", "-qm", "mine")
    theirs = push_from(clone, {"notes.md": "theirs\n"})
    with pytest.raises(BackupDiverged, match=r"Changed here and there: notes\.md"):
        backed.client.backup()
    assert backed.client.status()["backup"]["outcome"] == "diverged"
    remote = backed.root.parent / "remote.git"
    assert git(remote, "rev-parse", "main").strip() == theirs, "never forced"
    (problem,) = problems(backed, "backup_diverged")
    said = problem["message"].partition("by hand: git ")[2].partition(";")[0].split()
    insist(backed.root, *said, "-q", "-X", "ours", "--no-edit")
    pushed = backed.client.backup()["pushed"]["commit"]
    assert git(remote, "show", f"{pushed}:notes.md") == "mine\n"
    git(remote, "merge-base", "--is-ancestor", theirs, "main")


def test_another_daemons_files_are_never_mixed_in(backed: Daemon, clone: Path) -> None:
    theirs = push_from(clone, {"sessions/2026-01-01/other/session.yaml": "session_id: other\n"})
    with pytest.raises(BackupDiverged, match="sessions/2026-01-01/other"):
        backed.client.backup()
    assert git(backed.root.parent / "remote.git", "rev-parse", "main").strip() == theirs
    assert not (backed.root / "sessions" / "2026-01-01").exists()


def test_a_remote_that_fails_is_a_problem_until_it_works_again(backed: Daemon, served: Served) -> None:
    served.broken = True
    with pytest.raises(BackupFailed, match="503") as found:
        backed.client.backup()
    assert "s3cret" not in found.value.detail
    (told,) = problems(backed, "backup_failed")
    assert told["message"] == backed.client.status()["backup"]["error"]
    assert backed.http("GET", "/readyz").status_code == 200
    served.broken = False
    assert backed.client.backup()["error"] is None and not problems(backed, "backup_failed")
    assert "s3cret" not in backed.stderr() + str(backed.client.status()) + str(list(backed.journal("daemon")))
    assert any(line.startswith("POST /remote.git/git-receive-pack") for line in served.seen)


def test_a_version_that_another_clone_pushed_is_taken_up_and_never_replaced(backed: Daemon, clone: Path) -> None:
    draft = "title: T\nobjective: o\nphases: [{id: a}]\n"
    tag = "playbook/x/1.0.0"
    push_from(clone, {"playbooks/x/playbook.yaml": draft})
    git(clone, "tag", "-a", tag, "-m", "from there")
    git(clone, "push", "-q", "origin", tag)
    backed.client.sessions.create("s", workspace=str(backed.workspace))
    backed.client.backup()
    versions = backed.client.playbooks.versions
    until(lambda: backed.http("GET", "/v1/playbooks/x").status_code == 200)
    [one] = until(lambda: versions("x")["items"])
    assert (one["version"], one["published_by"], one["notes"]) == ("1.0.0", "Ada", "from there")

    git(clone, "tag", "-f", "-a", tag, "-m", "moved there")
    git(clone, "push", "-q", "-f", "origin", tag)
    git(clone, "pull", "-q", "--no-rebase", "--no-tags")
    push_from(clone, {"routes/more.yaml": ECHO})
    backed.client.sessions.create("t", workspace=str(backed.workspace))
    backed.client.backup()
    until(lambda: "more" in routes(backed))
    assert versions("x")["items"][0]["state"] == "published"


def test_that_a_takeover_without_a_remote_is_refused_and_changes_nothing(fresh: Fresh) -> None:
    daemon = fresh()
    before = (daemon.root / "format.yaml").read_bytes()

    with pytest.raises(Conflict, match="kheish backup add URL"):
        daemon.client.resume(takeover=True)

    assert (daemon.root / "format.yaml").read_bytes() == before
