"""The audit with real daemons: what is in it, over kills, and what is found when somebody touches it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

from kheish.client import Kheish
from tests.support.daemon import Daemon, bash, git, until
from tests.support.faults import Fault, Faults
from tests.support.site import Page, serve
from tests.system.conftest import Fresh
from tests.system.test_secrets import route, standin


def entries(daemon: Daemon, **query: Any) -> list[tuple[str, str, str]]:
    items = daemon.client.audit.list(limit=200, **query)["items"]
    return [(one["data"]["action"], one["data"]["outcome"], one["data"]["target"]) for one in items]


def test_external_actions_and_changes_of_access_are_there_and_the_chain_holds_over_kills(fresh: Fresh) -> None:
    with serve({"/": Page(b"hello", headers={"Content-Type": "text/plain"})}) as site, standin() as url:
        turns = [{"tool_calls": [{"name": "web_fetch", "arguments": {"url": f"{site.url}/"}}]}, {"text": "done"}]
        rules = {"rules": [{"tool": "web_fetch", "match": "127.0.0.1", "decision": "allow"}]}
        config = {"network": {"allow": ["127.0.0.1"]}}
        daemon = fresh(routes={"web": turns, "plain": [{"text": "hi"}]}, permissions=rules, config=config)
        daemon.client.secrets.put("openai.prod", "sk-planted-0123")
        route(daemon, url)
        daemon.client.sessions.create("s")
        for name in ("plain", "main", "web"):
            assert daemon.client.runs.start("s", "go", route=name, wait="20s").status == "completed"
        daemon.client.tokens.create("bob", "reader")
        httpx.get(f"{daemon.url}/v1/runs", headers={"authorization": "Bearer no"}, trust_env=False, verify=False)
    wanted = [
        ("secret", "done", "openai.prod: added"), ("model", "begun", "main/m"), ("model", "done", "main/standin-1"),
        ("http", "begun", "web_fetch"), ("http", "done", "web_fetch"), ("token", "done", "bob (reader): created"),
        ("auth", "refused", "GET /v1/runs: no valid token"),
    ]  # fmt: skip
    assert entries(daemon) == wanted
    daemon.restart()
    daemon.client.tokens.revoke("bob")

    assert entries(daemon) == [*wanted, ("token", "done", "bob (reader): revoked")]
    assert daemon.client.audit.verify()["finding"] is None
    daemon.quiet()
    report = json.loads(daemon.cli("audit", "verify", "--output", "json").stdout)
    assert (report["ok"], report["entries"], report["signed"]) == (True, 8, 8)


def test_each_of_the_two_persons_who_allowed_a_call_is_there_and_git_log_says_who_got_a_token(fresh: Fresh) -> None:
    rules = {"approvals": {"required": 2}}
    daemon = fresh(routes={"asks": [bash("id -u"), {"text": "done"}]}, permissions=rules)
    persons = []
    for name in ("ann", "bob"):
        persons.append(daemon.client.tokens.create(name, "approver", person=name.title())["token"])
        daemon.quiet()
    daemon.client.sessions.create("s")
    run = daemon.client.runs.start("s", "go", wait="20s")
    (id,) = run.data["pending_approvals"]
    for token in persons:
        Kheish(url=daemon.url, token=token).approvals.allow(id)

    found = daemon.client.audit.list(limit=200, action="approval")["items"]

    said = [(one["data"]["subject"], one["data"]["outcome"], one["data"]["target"]) for one in found]
    assert said == [("token:ann", "begun", id), ("token:bob", "done", id)]
    assert "token created: ann" in git(daemon.root, "log", "--format=%s")


def test_a_value_that_a_person_was_shown_is_in_the_audit_also_when_no_daemon_ran(fresh: Fresh) -> None:
    daemon = fresh()
    daemon.client.secrets.put("openai.prod", "sk-planted-0123")
    assert daemon.cli("secrets", "reveal", "openai.prod").stdout == "sk-planted-0123\n"
    assert entries(daemon)[1:] == [("secret", "done", "openai.prod: revealed")]
    daemon.stop()
    assert daemon.cli("secrets", "reveal", "openai.prod").stdout == "sk-planted-0123\n"
    daemon.start()
    last = daemon.client.audit.list(limit=200)["items"][-1]
    told = last["data"]["target"]
    assert told.startswith("openai.prod: revealed 20") and told.endswith(", while no daemon ran")
    assert last["data"]["subject"] == "person"
    daemon.restart()
    assert len(entries(daemon)) == 3, "it is told once"
    assert daemon.client.audit.verify()["finding"] is None


def test_a_filter_that_fits_nothing_there_could_be_is_refused(fresh: Fresh) -> None:
    daemon = fresh()
    daemon.client.tokens.create("bob", "reader")
    assert entries(daemon, action="token", outcome="done")
    for name, value, near in (("action", "tokn", "token"), ("outcome", "refusd", "refused")):
        answer = daemon.http("GET", f"/v1/audit?{name}={value}")
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, f"?{name}")
        assert f"did you mean {near!r}" in answer.text


def test_a_clone_is_checked_without_a_daemon_and_touching_it_is_found(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh()
    for name in ("a", "b", "c"):
        daemon.client.tokens.create(name, "reader")
    daemon.quiet()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", os.fspath(daemon.root), os.fspath(clone))
    good = daemon.cli("audit", "verify", os.fspath(clone))
    journal = next((clone / "journals/audit").glob("*.jsonl"))
    journal.write_text(journal.read_text().replace('"b (reader)', '"z (admin)'))

    bad = daemon.cli("audit", "verify", os.fspath(clone))

    assert (good.returncode, "3 entries, chained; 3 signed by" in good.stdout) == (0, True)
    assert (bad.returncode, "broken_link: Entry 2" in bad.stdout) == (1, True)


def test_an_audit_that_is_gone_altogether_is_no_empty_one(fresh: Fresh, tmp_path: Path) -> None:
    daemon = fresh()
    none = daemon.cli("audit", "verify")
    daemon.client.tokens.create("a", "reader")
    daemon.quiet()
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", os.fspath(daemon.root), os.fspath(clone))
    git(clone, "rm", "-rq", "journals/audit")
    uncommitted = daemon.cli("audit", "verify", os.fspath(clone))
    git(clone, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "tidy up")
    committed = daemon.cli("audit", "verify", os.fspath(clone))

    assert (none.returncode, none.stdout) == (0, "No audit entries yet: nothing to verify.\n")
    for found in (uncommitted, committed):
        assert (found.returncode, "removed: journals/audit is gone, but git has it" in found.stdout) == (1, True)


def test_the_key_is_outside_of_the_tree(fresh: Fresh) -> None:
    daemon = fresh()
    key = daemon.root.parent / "home/.config/kheish/audit.key"
    daemon.client.tokens.create("a", "reader")
    until((daemon.root / "journals/audit/head.json").exists)

    assert key.stat().st_mode & 0o777 == 0o600
    kept = key.read_bytes().strip()
    assert not [path for path in daemon.root.rglob("*") if path.is_file() and kept in path.read_bytes()]


def test_entries_that_a_kill_kept_from_their_commit_are_signed_after_it(tmp_path: Path) -> None:
    faults = Faults(tmp_path, Fault("worker", "commit", do="ENOSPC", stays=True, armed=True))
    with Daemon.fresh(tmp_path, env=faults.env(tmp_path / "state")) as daemon:
        daemon.quiet()
        faults.arm()
        daemon.client.tokens.create("a", "reader")
        until(lambda: faults.fired, what="no commit succeeds")
        daemon.kill9()
        daemon.env.clear()

        daemon.start()

        daemon.quiet()
        report = json.loads(daemon.cli("audit", "verify", "--output", "json").stdout)
        assert (report["ok"], report["entries"], report["signed"]) == (True, 1, 1)
