"""Who it was: a caller that gives another name is shown by its token's, and a refused credential is on record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon, until

PAID = {"driver": "openai", "model": "m", "api_base": "http://127.0.0.1:9/v1", "auth_ref": "env:HOME", "max_retries": 0}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    routes: dict[str, Any] = {"echo": {"driver": "scripted", "script": {"echo": True}}, "paid": PAID}
    asks = {"mode": "default", "rules": [{"tool": "bash", "match": "touch *", "decision": "ask"}]}
    with Daemon.fresh(tmp_path_factory.mktemp("attribution"), routes=routes, permissions=asks) as made:
        yield made


def test_an_approval_shows_the_token_that_wants_a_command_and_not_the_name_it_gives(daemon: Daemon) -> None:
    token = daemon.http("POST", "/v1/tokens", {"name": "mallory", "role": "operator"}).json()["token"]
    daemon.client.sessions.create("s", route="echo")
    body = {"content": "go", "completion": [{"command": "touch x"}], "actor": "token:local", "source": "the boss"}
    run = daemon.http("POST", "/v1/sessions/s/runs", body, headers={"authorization": f"Bearer {token}"}).json()
    [approval] = daemon.run(run["run_id"], "waiting_for_approval")["pending_approvals"]
    assert daemon.http("GET", f"/v1/approvals/{approval}").json()["came_from"]["by"] == "token:mallory"
    daemon.restart()  # by the journal, and not by what is in memory
    assert daemon.http("GET", f"/v1/approvals/{approval}").json()["came_from"]["by"] == "token:mallory"


def test_a_credential_that_is_not_lent_is_in_the_audit(daemon: Daemon) -> None:
    daemon.client.sessions.create("revoked", route="paid")
    daemon.client.pause(route="paid")
    run = daemon.client.runs.start("revoked", "go")  # accepted, and then there is no credential for it
    daemon.client.access.revoke("subject", "session:revoked")
    daemon.client.resume(route="paid")
    assert daemon.run(run.run_id)["error"]["code"] == "credential_revoked"
    # The server's window is asked for with the same credential, before the call: that is no second refusal.
    [entry] = until(lambda: [one for one in audited(daemon) if one["outcome"] == "refused"])
    assert (entry["action"], entry["subject"], entry["session"]) == ("access", "session:revoked", "revoked")
    assert entry["target"] == "lease: route:paid, env:HOME: credential_revoked"
    daemon.quiet()  # a commit signs it
    assert daemon.http("POST", "/v1/audit/verify", {}).json()["ok"]


def audited(daemon: Daemon) -> list[dict[str, Any]]:
    return [entry.get("data", entry) for entry in daemon.http("GET", "/v1/audit?limit=200").json()["items"]]
