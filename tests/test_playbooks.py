"""The Playbooks that come with Kheish: each runs on a real small workspace, and its evidence is what it says."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, git, until
from tests.support.released import release

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "playbooks"
Doc = dict[str, Any]


def serve(folder: Path, id: str) -> Daemon:
    """A daemon whose root has the Playbook from `kheish init`, with the example's route and permissions."""
    daemon = Daemon.make(folder)
    for name, path in (("route.yaml", "routes/example.yaml"), ("permissions.yaml", "permissions.yaml")):
        daemon.write(path, (EXAMPLES / id / name).read_text())
    return daemon


def start(daemon: Daemon, id: str, **inputs: str) -> Doc:
    """Start it from the command line, and wait until it needs a person."""
    words = [word for name, value in inputs.items() for word in ("--input", f"{name}={value}")]
    done = daemon.cli("flows", "start", id, *words, "--wait", "30s", "--output", "json")
    assert done.returncode == 5, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def decide(daemon: Daemon, flow: Doc, *, reason: str = "read it") -> Doc:
    """Allow the one approval that is pending; the Flow as it is when it has ended or needs somebody again."""
    (waiting,) = [one for one in flow["approvals"] if one["status"] == "pending"]
    daemon.client.approvals.allow(waiting["approval_id"], reason=reason)
    return {**until(lambda: ended(daemon, flow["flow_id"]), 30)}


def ended(daemon: Daemon, flow_id: str) -> Doc | None:
    flow = daemon.client.flows.get(flow_id, wait="5s")
    return {**flow} if flow["status"] not in ("pending", "running") else None


def shown(flow: Doc) -> tuple[str, list[str]]:
    return flow["status"], [one["status"] for one in flow["phases"]]


def evidence(flow: Doc) -> dict[str, Doc]:
    return {one["id"]: one for one in flow["evidence"]}


@pytest.mark.parametrize("id", ["incident-triage", "dependency-upgrade", "diff-review"])
def test_that_a_new_root_has_the_playbooks_of_the_examples(id: str) -> None:
    template = ROOT / "state-template" / "playbooks" / id / "playbook.yaml"
    assert template.read_bytes() == (EXAMPLES / id / "playbook.yaml").read_bytes()


def test_that_an_incident_is_triaged_and_mitigated_only_after_a_word(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "incident-triage")
    shutil.copytree(EXAMPLES / "incident-triage" / "workspace", daemon.workspace, dirs_exist_ok=True)
    try:
        release(daemon.start(), "incident-triage")
        flow = start(daemon, "incident-triage", service="payments", symptom="charges fail", check="python3 check.py")
        assert shown(flow) == ("waiting", ["satisfied", "satisfied", "satisfied", "waiting", "pending"])
        assert '"pool_size": 2' in (daemon.workspace / "config/payments.json").read_text()
        flow = decide(daemon, flow)
        assert shown(flow) == ("succeeded", ["satisfied"] * 5)
        assert '"pool_size": 8' in (daemon.workspace / "config/payments.json").read_text()
        found = evidence(flow)
        assert sorted(found) == ["cause", "plan", "report", "timeline"]
        for one in found.values():
            written = (daemon.workspace / one["ref"]).read_bytes()
            assert one["facts"]["sha256"] == hashlib.sha256(written).hexdigest()
        assert flow["title"] == "Triage of payments"
    finally:
        daemon.end()


def test_that_a_dependency_is_upgraded_in_one_commit_that_a_person_has_seen(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "dependency-upgrade")
    shutil.copytree(EXAMPLES / "dependency-upgrade" / "workspace", daemon.workspace, dirs_exist_ok=True)
    for words in (("init", "-q", "-b", "main"), ("config", "user.name", "Ada"), ("config", "user.email", "a@b.example"),
                  ("add", "."), ("commit", "-q", "-m", "before")):  # fmt: skip
        git(daemon.workspace, *words)
    try:
        release(daemon.start(), "dependency-upgrade")
        flow = start(daemon, "dependency-upgrade", package="slugs", version="2.0")
        assert shown(flow) == ("waiting", ["satisfied", "waiting", "pending"])
        assert git(daemon.workspace, "log", "--format=%s").split("\n")[0] == "before"
        flow = decide(daemon, flow)
        assert shown(flow) == ("succeeded", ["satisfied"] * 3)
        commit = evidence(flow)["change"]["facts"]
        assert commit["commit"] == git(daemon.workspace, "rev-parse", "HEAD").strip()
        assert (commit["repository"], commit["subject"]) == ("workspace", "Upgrade slugs to 2.0")
        assert git(daemon.workspace, "status", "--porcelain") == ""
        assert evidence(flow)["manifest"]["phase"] == "upgrade"
    finally:
        daemon.end()


def test_that_a_review_cannot_write_and_its_verdict_is_json_that_a_person_has_allowed(tmp_path: Path) -> None:
    daemon = serve(tmp_path, "diff-review")
    git(daemon.workspace, "init", "-q", "-b", "main")
    for branch, folder in (("main", "base"), ("feature", "head")):
        git(daemon.workspace, "checkout", "-q", "-B", branch)
        shutil.copytree(EXAMPLES / "diff-review" / "workspace" / folder, daemon.workspace, dirs_exist_ok=True)
        git(daemon.workspace, "add", ".")
        git(daemon.workspace, "commit", "-q", "-m", branch)
    try:
        release(daemon.start(), "diff-review")
        flow = start(daemon, "diff-review", head="feature")
        assert shown(flow) == ("waiting", ["satisfied", "satisfied", "waiting"])
        flow = decide(daemon, flow)
        assert shown(flow) == ("succeeded", ["satisfied"] * 3)
        verdict = json.loads(flow["runs"][0]["output"])
        assert (verdict["verdict"], len(verdict["findings"])) == ("reject", 2)
        assert [one["tool"] for one in flow["refused"]] == ["write_file"]
        assert not (daemon.workspace / "VERDICT").exists()
        kinds = {one["output_id"]: one["kind"] for one in flow["outputs"]}
        assert [kinds[one["facts"]["output_id"]] for one in flow["evidence"]] == ["overview", "findings"]
    finally:
        daemon.end()


REVIEW = {
    "driver": "scripted",
    "script": {
        "after_last": "fail",
        "turns": [
            {"tool_calls": [{"name": "memory", "arguments": {"command": "view", "path": "/memories"}}]},
            {"expect": "deploy.md", "tool_calls": [
                {"name": "memory", "arguments": {"command": "view", "path": "/memories/shared/deploy.md"}},
                {"name": "memory", "arguments": {"command": "view", "path": "/memories/shared/release.md"}},
            ]},
            {"expect": "on Fridays", "tool_calls": [{"name": "emit_output", "arguments": {
                "kind": "findings", "content": "release.md repeats deploy.md, and names another day."}}]},
            {"tool_calls": [{"name": "attach_evidence", "arguments": {
                "kind": "output", "id": "findings", "ref": "findings", "phase": "read"}}]},
            {"tool_calls": [
                {"name": "memory", "arguments": {"command": "str_replace", "path": "/memories/shared/deploy.md",
                                                 "old_str": "on Mondays", "new_str": "on Mondays, never on Fridays"}},
                {"name": "memory", "arguments": {"command": "delete", "path": "/memories/shared/release.md"}},
            ]},
            {"tool_calls": [{"name": "emit_output", "arguments": {
                "kind": "proposals", "content": "deploy.md corrected, release.md deleted."}}]},
            {"tool_calls": [{"name": "attach_evidence", "arguments": {
                "kind": "output", "id": "proposals", "ref": "proposals", "phase": "propose"}}]},
            {"text": "Two proposals."},
        ],
    },
}  # fmt: skip


@pytest.mark.demand(28)
def test_that_a_review_of_memory_only_proposes_and_a_person_accepts(tmp_path: Path) -> None:
    daemon = Daemon.make(tmp_path, routes={"reviewer": REVIEW})
    notes = {"deploy": "We deploy on Mondays.\n", "release": "Releases go out on Fridays.\n"}
    for name, text in notes.items():
        daemon.write(f"memory/shared/{name}.md", text)
    try:
        release(daemon.start(), "memory-review")
        flow = daemon.client.flows.start("memory-review", inputs={})
        done = until(lambda: ended(daemon, flow["flow_id"]), 60)
        assert shown(done) == ("succeeded", ["satisfied"] * 2), dict(done)
        folder = daemon.root / "memory" / "shared"
        assert {one.stem: one.read_text() for one in folder.glob("*.md")} == notes, "it only proposes"
        pending = daemon.client.memory.proposals()["items"]
        assert sorted(one["path"] for one in pending) == ["memory/shared/deploy.md", "memory/shared/release.md"]
        by_path = {one["path"]: one["proposal_id"] for one in pending}
        form = daemon.root / "pending" / "memory" / f"{by_path['memory/shared/deploy.md']}.yaml"
        until(form.exists, what="the proposal is a file")
        form.write_text(form.read_text().replace("\ndecision:", "\ndecision: accept", 1))
        assert daemon.cli("memory", "accept", by_path["memory/shared/release.md"]).returncode == 0
        until(lambda: "never on Fridays" in (folder / "deploy.md").read_text(), what="accepted by the file")
        assert not (folder / "release.md").exists()
        until(lambda: not daemon.client.memory.proposals(status="pending")["items"], what="none waits")
        (left,) = daemon.client.memory.list(scope="shared")["items"]
        assert (left["path"], left["origin"]) == ("memory/shared/deploy.md", "person")
    finally:
        daemon.end()
