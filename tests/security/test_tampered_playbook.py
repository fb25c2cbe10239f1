"""A released version whose tag is lightweight, moved, or of another tree: no Flow starts from it."""

from __future__ import annotations

from pathlib import Path

from kheish.errors import VersionTampered
from tests.support.daemon import Daemon, git, until
from tests.support.released import release

TAG = "playbook/one/1.0.0"
GOOD = {"title": "One", "objective": "o", "phases": [{"id": "only", "acceptance": [{"command": "touch good"}]}]}


def test_no_flow_starts_from_a_tag_that_is_not_what_was_released(tmp_path: Path) -> None:
    with Daemon.fresh(
        tmp_path, config={"default_route": "echo"}, routes={"echo": {"driver": "scripted", "script": {"echo": True}}}
    ) as daemon:
        release(daemon, "one", GOOD)
        root, object = daemon.root, git(daemon.root, "rev-parse", TAG).strip()
        commit = git(root, "rev-parse", f"{TAG}^{{commit}}").strip()
        evil = tmp_path / "evil"
        git(tmp_path, "clone", "-q", str(root), str(evil))
        manifest = evil / "playbooks/one/playbook.yaml"
        manifest.write_text(manifest.read_text().replace("touch good", "touch evil"))
        git(evil, "commit", "-qam", "other tree")
        git(root, "fetch", "-q", str(evil), "HEAD")
        other = git(evil, "rev-parse", "HEAD").strip()
        attacks = [("-f", TAG, commit), ("-f", TAG, other), ("-f", "-a", TAG, "-m", "One 1.0.0", other),
                   ("-f", "-a", TAG, "-m", "One 1.0.0", commit), ("-d", TAG)]  # fmt: skip
        for words in attacks:
            git(root, "tag", *words)
            refused = daemon.http("POST", "/v1/flows", {"playbook": "one@1.0.0"})
            assert (refused.status_code, refused.json()["code"]) == (VersionTampered.status, VersionTampered.code), (
                words
            )
            git(root, "update-ref", f"refs/tags/{TAG}", object)
        assert daemon.client.flows.list()["items"] == [] and daemon.client.runs.list()["items"] == []
        assert not list(daemon.workspace.iterdir())
        until(lambda: daemon.http("POST", "/v1/flows", {"playbook": "one@1.0.0"}).status_code == 202)  # it is back
