"""Playbooks from outside: drafts are files, versions are tags, and what somebody does to a tag is noticed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import Conflict, DraftNotCommitted, Invalid, InvalidDefinition, VersionExists
from tests.support.daemon import Daemon, git, insist, until

DRAFT = """\
# how we look into incidents
title: Triage
objective: Find the cause.
phases:
  - id: look
    acceptance: [the cause is known]
    evidence: [{kind: file, id: report}]
"""
WORD = {"kind": "attestation", "id": "ada", "description": "I read it"}
TAG = "playbook/triage/1.0.0"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path) as made:
        yield made


def save(daemon: Daemon, text: str = DRAFT) -> Path:
    """A person saves the draft; wait until it is in force."""
    daemon.write("playbooks/triage/playbook.yaml", text)
    until(lambda: in_force(daemon) == text)
    return daemon.root / "playbooks" / "triage"


def in_force(daemon: Daemon) -> str | None:
    answer = daemon.http("GET", "/v1/playbooks/triage", headers={"accept": "application/yaml"})
    return answer.text if answer.status_code == 200 else None


def state(daemon: Daemon, version: str = "1.0.0") -> str | None:
    items = daemon.client.playbooks.versions("triage")["items"]
    return next((one["state"] for one in items if one["version"] == version), None)


def codes(daemon: Daemon) -> list[str]:
    return [one["code"] for one in daemon.client.problems()["items"]]


def test_a_version_is_a_tag_with_the_content_of_its_draft(daemon: Daemon) -> None:
    folder = save(daemon)
    (folder / "look.sh").write_text("make look\n")
    (folder / ".env").write_text("SECRET=1\n")
    made = daemon.client.playbooks.publish("triage", "1.0.0", notes="The first.\n\nIt works.")
    assert git(daemon.root, "show", f"{TAG}:playbooks/triage/playbook.yaml") == DRAFT
    assert git(daemon.root, "ls-tree", "-r", "--name-only", TAG, "playbooks/triage").split() == [
        "playbooks/triage/look.sh", "playbooks/triage/playbook.yaml",
    ]  # fmt: skip
    message = git(daemon.root, "tag", "-l", "--format=%(contents)", TAG)
    assert message.startswith("Triage 1.0.0\n\nThe first.\n\nIt works.\n") and made["digest"] in message
    assert daemon.cli("playbooks", "digest", str(folder / "playbook.yaml")).stdout.strip() == made["digest"]
    assert made["commit"] == git(daemon.root, "rev-parse", f"{TAG}^{{commit}}").strip()
    (folder / "playbook.yaml").write_text("garbage: [")
    assert daemon.client.playbooks.version_text("triage", "1.0.0") == DRAFT  # never from the work tree


def test_the_same_content_is_no_new_version_and_other_content_is_refused(daemon: Daemon) -> None:
    save(daemon)
    client = daemon.client.playbooks
    first = client.publish("triage", "1.0.0")
    save(daemon, "# reworded\n" + DRAFT)
    assert client.publish("triage", "1.0.0")["commit"] == first["commit"]
    save(daemon, DRAFT.replace("cause.", "cause, and fix it."))
    with pytest.raises(VersionExists):
        client.publish("triage", "1.0.0")
    (daemon.root / "playbooks/triage/playbook.yaml").write_text("title: T\nphasez: []\n")
    with pytest.raises(InvalidDefinition) as refused:
        client.publish("triage", "1.1.0")
    assert {one.path for one in refused.value.errors} == {"/objective", "/phases", "/phasez"}
    with pytest.raises(Invalid, match=r"write three numbers, such as 1\.2\.0"):
        client.publish("triage", "1.1")
    assert [one["version"] for one in client.versions("triage")["items"]] == ["1.0.0"]


def test_three_mistakes_are_seen_at_once_with_line_and_column(daemon: Daemon) -> None:
    save(daemon)
    wrong = DRAFT.replace("objective", "objektive").replace("look\n", "look\n    needs: [luk]\n    role: x\n")
    daemon.write("playbooks/triage/playbook.yaml", wrong)
    began = time.monotonic()
    until(lambda: "unknown_key" in codes(daemon))
    assert time.monotonic() - began < 8  # a second, on a machine that is not busy
    found = {(one["line"], one["column"], one["code"]) for one in daemon.client.problems()["items"]}
    assert {(3, 1, "unknown_key"), (6, 13, "unknown_phase"), (7, 11, "unknown_role")} <= found
    assert in_force(daemon) == DRAFT
    checked = daemon.cli("playbooks", "validate", str(daemon.root / "playbooks/triage/playbook.yaml"))
    assert checked.returncode == 1 and ":3:1: unknown key 'objektive'; did you mean 'objective'?" in checked.stdout


def test_a_moved_or_removed_tag_is_tampered_until_it_is_put_back(daemon: Daemon) -> None:
    save(daemon)
    client = daemon.client.playbooks
    client.publish("triage", "1.0.0")
    client.release("triage", "1.0.0", "verified", evidence=[WORD])
    client.release("triage", "1.0.0", "active")
    object = git(daemon.root, "rev-parse", TAG).strip()
    git(daemon.root, "tag", "-f", "-a", TAG, "-m", "moved", "HEAD")
    until(lambda: state(daemon) == "tampered")
    told = daemon.root / "PROBLEMS.md"
    until(lambda: "version_tampered" in codes(daemon) and told.exists() and TAG in told.read_text(), what="it is told")
    with pytest.raises(Conflict):
        client.release("triage", "1.0.0", "verified")
    git(daemon.root, "update-ref", f"refs/tags/{TAG}", object)
    until(lambda: state(daemon) == "active")
    assert "version_tampered" not in codes(daemon)
    git(daemon.root, "tag", "-d", TAG)
    until(lambda: state(daemon) == "tampered")
    daemon.kill9()
    git(daemon.root, "update-ref", f"refs/tags/{TAG}", object)
    assert state(daemon.start()) == "active"


def test_tags_made_by_hand_are_versions_also_packed_and_while_no_daemon_runs(daemon: Daemon) -> None:
    save(daemon)
    daemon.quiet()
    git(daemon.root, "tag", "-a", TAG, "-m", "Good enough.")
    until(lambda: state(daemon) == "published")
    one = daemon.client.playbooks.version("triage", "1.0.0")
    assert (one["published_by"], one["notes"], one["via"]) == ("Ada", "Good enough.", "git")
    git(daemon.root, "tag", "playbook/triage/1.1.0")
    git(daemon.root, "tag", "-a", "playbook/triage/latest", "-m", "x")
    until(lambda: codes(daemon).count("not_a_version") == 2)
    daemon.stop()
    git(daemon.root, "tag", "-a", "playbook/triage/2.0.0", "-m", "By night.")
    git(daemon.root, "pack-refs", "--all")
    daemon.start()
    assert (state(daemon, "2.0.0"), state(daemon)) == ("published", "published")
    git(daemon.root, "tag", "-f", "-a", TAG, "-m", "moved")
    git(daemon.root, "pack-refs", "--all")
    until(lambda: state(daemon) == "tampered")


def test_the_ledger_survives_kills_lost_indexes_and_clones(daemon: Daemon, tmp_path: Path) -> None:
    save(daemon)
    client = daemon.client.playbooks
    client.publish("triage", "1.0.0")
    client.release("triage", "1.0.0", "verified", evidence=[WORD, {"kind": "commit", "id": "HEAD"}])
    client.release("triage", "1.0.0", "canary", percent=20)
    before = client.version("triage", "1.0.0")
    daemon.kill9()
    assert daemon.start().client.playbooks.version("triage", "1.0.0") == before
    daemon.end_of_life()  # its scribe, too, which takes files of the index away when it ends
    shutil.rmtree(daemon.root / ".kheish")
    assert daemon.start().client.playbooks.version("triage", "1.0.0") == before
    daemon.client.state("reindex")
    assert daemon.client.playbooks.version("triage", "1.0.0") == before
    then = daemon.client.playbooks.version("triage", "1.0.0", at=f"n:{before['n'] - 1}")
    assert (then["state"], then["percent"]) == ("verified", None)
    daemon.quiet()
    git(daemon.root, "push", "-q", str(bare(tmp_path)), "main", TAG)
    assert daemon.cli("restore", str(tmp_path / "bare"), str(tmp_path / "there")).returncode == 0
    other = Daemon(tmp_path / "there", daemon.workspace)
    try:
        assert other.start().client.playbooks.version("triage", "1.0.0") == before
    finally:
        other.end()


def bare(folder: Path) -> Path:
    git(folder, "init", "-q", "--bare", "bare")
    return folder / "bare"


def test_a_draft_that_a_person_commits_is_published_when_it_is_committed(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, config={"edits": {"commit": "manual"}}) as daemon:
        save(daemon)
        with pytest.raises(DraftNotCommitted, match="git add playbooks/triage"):
            daemon.client.playbooks.publish("triage", "1.0.0")
        insist(daemon.root, "add", "playbooks/triage")
        insist(daemon.root, "commit", "-q", "-m", "Triage")
        assert daemon.client.playbooks.publish("triage", "1.0.0")["state"] == "published"


def test_the_difference_is_told_by_field_and_as_text(daemon: Daemon) -> None:
    folder = save(daemon)
    daemon.client.playbooks.publish("triage", "1.0.0")
    (folder / "look.sh").write_text("make\n")
    save(daemon, DRAFT.replace("cause.", "cause soon.") + "  - {id: act, needs: [look]}\n")
    found: dict[str, Any] = daemon.client.playbooks.diff("triage")
    assert [(one["path"], one["change"]) for one in found["fields"]] == [
        ("/objective", "changed"), ("/phases/act", "added"),
    ]  # fmt: skip
    assert "-objective: Find the cause.\n+objective: Find the cause soon.\n" in found["text"]
    assert "+++ triage (draft)/look.sh\n@@ -0,0 +1 @@\n+make\n" in found["text"]
    blamed = daemon.client.playbooks.blame("triage")["items"]
    assert [one["line"] for one in blamed] == list(range(1, len(blamed) + 1)) and blamed[1]["text"] == "title: Triage"


def test_evidence_that_leads_nowhere_is_refused_all_of_it_at_once(daemon: Daemon) -> None:
    save(daemon)
    client = daemon.client.playbooks
    client.publish("triage", "1.0.0")
    bad = [("run", "run_x"), ("commt", "x"), ("file", ".kheish/token"), ("file", "no.md"), ("tool_call", "r/c")]
    with pytest.raises(Invalid) as refused:
        client.release("triage", "1.0.0", "verified", evidence=[WORD, *({"kind": kind, "id": id} for kind, id in bad)])
    assert [one.path for one in refused.value.errors] == [f"/evidence/{at}" for at in range(1, 6)]
    assert state(daemon) == "published"
    good = [{"kind": "file", "id": "playbooks/triage/playbook.yaml"}, {"kind": "commit", "id": TAG}]
    assert client.release("triage", "1.0.0", "verified", evidence=good)["evidence"][1]["facts"]["commit"]


def test_whoever_removes_a_draft_keeps_its_versions(daemon: Daemon) -> None:
    folder = save(daemon)
    (folder / "look.sh").write_text("make\n")
    until(lambda: "look.sh" in git(daemon.root, "ls-files", "playbooks"))
    daemon.client.playbooks.publish("triage", "1.0.0")
    daemon.client.playbooks.delete("triage")
    assert not folder.exists() or not list(folder.iterdir())
    daemon.quiet()
    assert git(daemon.root, "ls-files", "playbooks/triage") == ""
    assert daemon.client.playbooks.version_text("triage", "1.0.0") == DRAFT
