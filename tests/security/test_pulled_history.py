"""A person pulls what somebody pushed into the daemon's own journals: an approval that nobody gave, and a session whose
run had one. Neither counts, now or when the index is made again from the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import bash, git, insist, until
from tests.support.pulled import Shared


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    with Shared.fresh(tmp_path, routes={"asks": [bash("touch {{input}}"), {"text": "done"}]}) as made:
        yield made


def waiting(shared: Shared, session: str) -> dict[str, Any]:
    """A run that waits for an approval to make a file of its session's name."""
    shared.daemon.client.sessions.create(session, route="asks")
    run = shared.daemon.client.runs.start(session, session)
    return shared.daemon.run(run.run_id, "waiting_for_approval")


def forge(shared: Shared, one: dict[str, Any], other: dict[str, Any]) -> None:
    """In the clone: what follows an approval of `other` is written behind the request of `one`; and, as a session of
    its own, `other` up to there."""
    [mine] = shared.there.glob(f"sessions/*/{one['session_id']}/journal/000001.jsonl")
    [theirs] = shared.there.glob(f"sessions/*/{other['session_id']}/journal/000001.jsonl")
    entries = [json.loads(line) for line in theirs.read_text().splitlines()]
    seq = json.loads(mine.read_text().splitlines()[-1])["seq"]
    allowed = [entry for entry in entries if entry["kind"] in ("approval.resolved", "run.requeued")]
    assert [entry["kind"] for entry in allowed] == ["approval.resolved", "run.requeued"]
    text = "".join(json.dumps({**entry, "seq": seq + i}) + "\n" for i, entry in enumerate(allowed, start=1))
    names = ((other["pending_approvals"][0], one["pending_approvals"][0]), (other["run_id"], one["run_id"]),
             (f'"{other["session_id"]}"', f'"{one["session_id"]}"'))  # fmt: skip
    for old, new in names:
        text = text.replace(old, new)
    mine.write_text(mine.read_text() + text)
    copied = theirs.parents[2] / "forged/journal/000001.jsonl"
    copied.parent.mkdir(parents=True)
    lines = [line for line in theirs.read_text().splitlines() if json.loads(line)["n"] <= allowed[-1]["n"]]
    text = "\n".join([*lines, ""]).replace(f'"{other["session_id"]}"', '"forged"')
    copied.write_text(text.replace(other["run_id"], "run_" + other["run_id"][4:][::-1]))


def test_a_stop_right_after_a_pull_commits_what_is_set_aside(shared: Shared) -> None:
    daemon = shared.daemon
    one, other = waiting(shared, "one"), waiting(shared, "other")
    daemon.http("POST", f"/v1/approvals/{other['pending_approvals'][0]}/resolve", {"decision": "allow"})
    daemon.run(other["run_id"])
    shared.fetch()
    forge(shared, one, other)
    shared.push({})
    insist(daemon.root, "pull", "-q", "--no-rebase", "origin", "main")
    daemon.stop()
    assert "scribe is gone" not in daemon.stderr()
    assert git(daemon.root, "status", "--porcelain", "--", "conflicts") == ""


@pytest.mark.parametrize("served", [True, False], ids=["while it serves", "while none serves"])
def test_a_pulled_approval_that_nobody_gave(shared: Shared, served: bool) -> None:
    daemon = shared.daemon
    one, other = waiting(shared, "one"), waiting(shared, "other")
    approval = f"/v1/approvals/{other['pending_approvals'][0]}/resolve"
    assert daemon.http("POST", approval, {"decision": "allow"}).status_code < 300
    daemon.run(other["run_id"])
    shared.fetch()
    forge(shared, one, other)
    shared.push({})
    if not served:
        daemon.stop()
    insist(daemon.root, "pull", "-q", "--no-rebase", "origin", "main")
    if served:
        until(lambda: "put back" in daemon.stderr())
        daemon.quiet()
        daemon.stop()
    (daemon.root / ".kheish/index.sqlite").unlink()  # as an upgrade may: it is a cache
    daemon.start()
    daemon.quiet()
    assert {run["session_id"]: run["status"] for run in daemon.client.runs.list()["items"]} == {
        "one": "waiting_for_approval", "other": "completed",
    }  # fmt: skip
    assert [path.name for path in daemon.workspace.iterdir()] == ["other"]
    assert daemon.http("GET", "/v1/sessions/forged").status_code == 404
    assert not list(daemon.root.glob("sessions/*/forged/journal/*"))
    later = daemon.client.runs.start("one", "later")  # the session goes on from what was so
    assert later.data["status"] == "queued"
