"""A state root of an older version (`old_root/make.py`) opens, answers as it did, continues, and verifies."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kheish.api.operations import OPERATIONS
from tests.support.daemon import Daemon, git
from tests.system.old_root.make import ABOUT_THE_PROCESS, HERE, PLACE
from tests.system.old_root.reads import read

RECORDED: dict[str, Any] = json.loads(gzip.decompress((HERE / "answers.json.gz").read_bytes()))
ANSWERS: Mapping[str, Any] = RECORDED["answers"]
#: read operations of later versions, which the old one has no answer for, and the one that a code opens
NOT_RECORDED = (
    "/login",
    "/v1/agents",
    "/v1/agents/quotas",
    "/v1/agents/worktrees",
    "/v1/runtime",
    *(f"/v1/agents/a{rest}" for rest in ("", "/tree", "/worktree", "/mailbox", "/mailbox/m")),
    "/v1/goals",
    "/v1/sessions/s/tasks/t",
    "/v1/sessions/s/tasks/t/output",
    *(f"/v1/memory{rest}" for rest in ("", "/proposals", "/proposals/p", "/shared/-/a.md", "/shared/-/a.md/history")),
    *(f"/v1/schedules{rest}" for rest in ("", "/s", "/s/history", "/s/next", "/s/fires")),
    *(f"/v1/workers{rest}" for rest in ("", "/w", "/w/history")),
    *(f"/v1/projects{rest}" for rest in ("", "/p", "/p/history", "/p/members", "/p/channels", "/p/board")),
    *(f"/v1/projects/p/tasks{rest}" for rest in ("", "/t")),
    *(f"/v1/channels{rest}" for rest in ("", "/c", "/c/history", "/c/members", "/c/messages", "/c/messages/m")),
    *(f"/v1/channels/c/{rest}" for rest in ("threads", "threads/t", "turns", "proposals", "proposals/p")),
    *(f"/v1/mcp{rest}" for rest in ("", "/m", "/m/history")),
    "/v1/trust/mcp/m",
    *(f"/v1/connectors{rest}" for rest in ("", "/c", "/c/history", "/c/receipts")),
    *(f"/v1/hooks{rest}" for rest in ("", "/h", "/h/history", "/h/invocations")),
    "/v1/trust/hooks/h",
    *(f"/v1/outputs{rest}" for rest in ("", "/o", "/o/history")),
    "/v1/trust/outputs/o",
    *(f"/v1/deliveries{rest}" for rest in ("", "/d")),
    "/v1/auth/accounts/m/login",
    "/v1/auth/callback",
    "/v1/sessions/s/goal",
    *(f"/v1/skills{rest}" for rest in ("", "/s", "/s/history")),
    "/v1/trust/skills/s",
    "/v1/sessions/s/memory",
    *(f"/v1/{kind}/history" for kind in ("config", "permissions", "instructions")),
    "/v1/instructions",
    "/v1/stacks/files",
    *(f"/v1/sources{rest}" for rest in ("", "/s", "/s/history", "/s/observations")),
    *(f"/v1/observations{rest}" for rest in ("/o", "/o/raw")),
    "/v1/runs/r/debug",
    "/v1/runs/r/debug/a",
    *(f"/v1/assets{rest}" for rest in ("", "/a", "/a/raw", "/a/text", "/a/references")),
)
#: `since`: when this daemon first saw a problem; `message`: prose, whose wording may improve; `problem_id`: its digest
VARYING = frozenset({"since", "message", "problem_id"})
#: what a report names: ids, commits, versions and moments; the prose between them may improve
NAMED = re.compile(r"\b(?:[a-z]+_[0-9a-z]{10,}|[0-9a-f]{12,40}|v\d+|\d{4}-\d\d-\d\dT[0-9:.]+Z)\b")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(HERE / "state.tar.xz") as made:
        made.extractall(folder, filter="data")
    (PLACE / "work").mkdir(parents=True, exist_ok=True)  # the workspace that its sessions name
    (PLACE / "work" / "note.txt").write_text("one\ntwo\n")  # as its daemon left it
    daemon = Daemon(folder / "state", PLACE / "work")
    assert verified(daemon)
    try:
        yield daemon.start()
    finally:
        daemon.end()


def verified(daemon: Daemon) -> bool:
    """Return whether `state verify` and `doctor` find nothing wrong."""
    checks = [daemon.cli("state", "verify"), daemon.cli("doctor")]
    assert [one.returncode for one in checks] == [0, 0], [one.stdout + one.stderr for one in checks]
    return True


def as_before(path: str, before: Any, now: Any) -> tuple[Any, Any]:
    """Return both answers without added fields, and without what later starts of a daemon added to the end."""
    if path == "/v1/state/log?limit=200":
        before, now = _from_head(before), _from_head(now)
    if "/report" in path:
        return NAMED.findall(before), NAMED.findall(now)
    if isinstance(before, list):
        return _upto_newest(before), _upto_newest(now)
    if path == "/v1/config":  # `memory` was a truth value, which kheish.yaml may still have
        before = {**before, "memory": {"run_records": "on" if before["memory"] else "off"}}
    return _without(before), _without(_common(before, now))


def _common(before: Any, now: Any) -> Any:
    """Return an answer without the fields that the old one lacks."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: _common(before[key], value) for key, value in now.items() if key in before}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_common(*pair) for pair in zip(before, now, strict=True)]
    return now


def _without(answer: Any) -> Any:
    """Return an answer without the fields that vary."""
    if isinstance(answer, dict):
        return {key: _without(value) for key, value in answer.items() if key not in VARYING}
    return [_without(one) for one in answer] if isinstance(answer, list) else answer


def _from_head(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the page of commits from the newest that was archived on."""
    ids = [one["commit"] for one in answer["items"]]
    return {**answer, "items": answer["items"][ids.index(RECORDED["head"]) :]}


def _upto_newest(lines: list[str]) -> list[str]:
    """Return the lines of a stream up to the newest entry that was archived."""
    numbers = [int(line.removeprefix("id: ")) if line.startswith("id: ") else 0 for line in lines]
    return lines[: next((at for at, n in enumerate(numbers) if n > RECORDED["newest"]), len(lines))]


def test_every_read_operation_is_recorded() -> None:
    forms = [re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path)) for one in OPERATIONS if one.method == "GET"]
    paths = [path.partition("?")[0] for path in ANSWERS]
    missing = [form.pattern for form in forms if not any(form.fullmatch(path) for path in (*paths, *NOT_RECORDED))]
    assert not missing, "add them to NOT_RECORDED where the old version did not have them"


def test_reads_answer_as_the_old_version_did(old: Daemon) -> None:
    differences = {}
    for path, before in ANSWERS.items():
        now = read(old, path, lines=len(before["body"]) if isinstance(before["body"], list) else 0)
        assert (now["status"], now["media"]) == (before["status"], before["media"]), path
        if path in ABOUT_THE_PROCESS:
            continue
        pair = as_before(path, before["body"], now["body"])
        if json.dumps(pair[0]) != json.dumps(pair[1]):
            differences[path] = pair
    assert not differences


def test_what_waited_continues_and_the_root_verifies(old: Daemon) -> None:
    (waiting,) = old.client.approvals.list(status="pending")["items"]
    old.client.approvals.allow(waiting["approval_id"])
    assert old.run(waiting["run_id"])["output"].startswith("it said ")
    (asked,) = old.client.questions.list(status="pending")["items"]
    old.client.questions.answer(asked["question_id"], {"q1": {"selected": ["b"]}})
    assert old.run(asked["run_id"])["status"] == "completed"
    assert old.client.runs.start("hello", "again", wait="20s").data["output"] == "hello again"
    repeated = old.client.runs.start("hello", "world", idempotency_key="once")
    assert repeated.run_id in {one["run_id"] for one in ANSWERS["/v1/runs?limit=200"]["body"]["items"]}
    old.quiet()
    assert old.stop() == 0
    assert verified(old) and not git(old.root, "status", "--porcelain")
