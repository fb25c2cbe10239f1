"""Connectors of the kind http on a real daemon: proofs by the vendors' own code, keys, sessions, targets, kill -9."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from kheish.errors import NotFound
from tests.support.daemon import Daemon, until
from tests.support.released import release

SECRET = "a-secret-of-the-sender-0123456789"
WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ROUTES: dict[str, Any] = {"echo": {"driver": "scripted", "script": {"echo": True}}}
FILES: dict[str, dict[str, Any]] = {
    "alerts": {
        "kind": "http", "verify": {"scheme": "standard_webhooks", "secret": "whsec"},
        "session": {"key": "alerts:{service}", "settings": {"title": "Alerts", "labels": {"team": "ops"}}},
        "map": {"content": "message", "actor": "from", "metadata": "{severity: severity}"},
        "people": {"u1": "ann"}, "target": {"input": {"instructions": "Triage this."}},
    },
    "plain": {"kind": "http", "verify": {"scheme": "hmac", "secret": "plain"}, "session": {"fixed": "inbox"}},
    "repo": {
        "kind": "http", "verify": {"scheme": "github", "secret": "plain"}, "session": {"new": {}},
        "map": {"content": "action"}, "allow": {"events": ["issues", "label"]},
    },
    "open": {"kind": "http", "session": {"payload": "where"}, "map": {"idempotency": "id"}},
    "token": {
        "kind": "http", "verify": {"scheme": "bearer", "secret": "plain"}, "session": {"new": {}}, "rate": "5/h",
        "max_bytes": "2KiB", "allow": {"senders": ["ann"]}, "map": {"content": "text", "actor": "who"},
    },
    "own": {"kind": "http", "verify": {"scheme": "bearer"}, "session": {"fixed": "inbox"}},
    "room": {
        "kind": "http", "verify": {"scheme": "bearer", "secret": "plain"}, "target": {"channel": {"id": "lobby"}},
        "map": {"content": "text", "actor": "who"}, "people": {"u1": "ann"},
    },
    "flows": {
        "kind": "http", "verify": {"scheme": "bearer", "secret": "plain"}, "session": {"new": {}},
        "target": {"flow": {"playbook": "p", "inputs": {"service": "{service}"}}},
    },
}  # fmt: skip
PLAYBOOK = {
    "title": "T", "objective": "Look at {{inputs.service}}", "inputs": {"service": {"type": "string"}},
    "phases": [{"id": "only"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "echo"}
    with Daemon.fresh(tmp_path_factory.mktemp("ingress"), routes=ROUTES, config=config) as made:
        set_up(made)
        yield made


def set_up(daemon: Daemon) -> None:
    daemon.client.secrets.put("whsec", WHSEC)
    daemon.client.secrets.put("plain", SECRET)
    channel = {"title": "Lobby", "members": [{"member": "ann", "kind": "human", "person": "ann", "name": "Ann"}]}
    assert daemon.http("PUT", "/v1/channels/lobby", channel).status_code == 201
    for name, file in FILES.items():
        answer = daemon.http("PUT", f"/v1/connectors/{name}", file)
        assert answer.status_code == 201, answer.text


def send(daemon: Daemon, name: str, body: Any, **headers: str) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
    url = f"{daemon.url}/v1/ingress/{name}"
    return httpx.post(url, content=raw, headers=names, timeout=60, trust_env=False)


def alert(daemon: Daemon, id: str, service: str = "web", text: str = "it burns", **more: Any) -> httpx.Response:
    """An alert as a sender that uses the package of Standard Webhooks sends it."""
    raw = json.dumps({"service": service, "message": text, "from": "u1", "severity": 3, **more})
    now = datetime.datetime.now(datetime.UTC)
    signature = Webhook(WHSEC).sign(id, now, raw)
    time = str(int(now.timestamp()))
    return send(daemon, "alerts", raw.encode(), webhook_id=id, webhook_timestamp=time, webhook_signature=signature)


def bearer(daemon: Daemon, name: str, body: Any, **more: str) -> httpx.Response:
    return send(daemon, name, body, authorization=f"Bearer {SECRET}", **more)


def hmac_headers(body: bytes, at: float, form: Callable[[bytes], str]) -> dict[str, str]:
    mac = hmac.new(SECRET.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).digest()
    return {"x_timestamp": str(int(at)), "x_signature": form(mac)}


def test_a_signed_alert_becomes_a_run_and_its_repetition_finds_the_same(daemon: Daemon) -> None:
    first = alert(daemon, "evt_1")
    assert first.status_code == 202, first.text
    led = first.json()
    run = daemon.run(led["run_id"], "completed")
    texts = [item["text"] for item in run["request"]["items"]]
    assert texts == ["Triage this.", "it burns"] and run["request"]["source"] == "http"
    about = run["request"]["metadata"]
    assert about["severity"] == 3 and about["person"] == "ann" and about["receipt_id"] == led["receipt_id"]
    session = daemon.client.sessions.get(run["session_id"])
    assert session["title"] == "Alerts" and session["labels"] == {"connector": "alerts", "team": "ops"}

    again = alert(daemon, "evt_1", text="sent once more")
    assert again.status_code == 202 and again.json() == {**led, "duplicate": True}
    other, same = alert(daemon, "evt_2", service="db").json(), alert(daemon, "evt_3").json()
    sessions = [daemon.run(one["run_id"], "completed")["session_id"] for one in (led, other, same)]
    assert sessions[0] == sessions[2] != sessions[1]

    receipts = daemon.client.connectors.receipts("alerts")["items"]
    assert [one["run_id"] for one in receipts] == [same["run_id"], other["run_id"], led["run_id"]]
    assert receipts[-1] | {"keys": ["evt_1"], "binding": "alerts:web", "sender": "u1", "person": "ann"} == receipts[-1]
    assert [one["run_id"] for one in daemon.client.connectors.receipts("alerts", run_id=led["run_id"])["items"]] == [
        led["run_id"]
    ]


def test_svix_headers_and_rotated_signatures(daemon: Daemon) -> None:
    raw, now = b'{"service":"svix","message":"m"}', datetime.datetime.now(datetime.UTC)
    signature = "v1,b2xk " + Webhook(WHSEC).sign("svix_1", now, raw.decode())
    time = str(int(now.timestamp()))
    answer = send(daemon, "alerts", raw, svix_id="svix_1", svix_timestamp=time, svix_signature=signature)
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    "form", [bytes.hex, lambda mac: f"sha256={mac.hex()}", lambda mac: base64.b64encode(mac).decode()]
)
def test_a_replay_of_an_hmac_request_is_a_duplicate(daemon: Daemon, form: Callable[[bytes], str]) -> None:
    body = json.dumps({"n": form(b"x")}).encode()
    headers = hmac_headers(body, time.time(), form)
    first, again = send(daemon, "plain", body, **headers), send(daemon, "plain", body, **headers)
    assert first.status_code == 202 and again.json() == {**first.json(), "duplicate": True}
    run = daemon.run(first.json()["run_id"], "completed")
    assert run["session_id"] == "inbox" and json.loads(run["request"]["items"][0]["text"]) == json.loads(body)


def test_a_request_without_a_valid_proof_is_refused_before_it_is_read(daemon: Daemon) -> None:
    body, now = b'{"service":"web","message":"m"}', time.time()
    moment = datetime.datetime.fromtimestamp(now - 400, datetime.UTC)
    late = Webhook(WHSEC).sign("late", moment, body.decode())
    attempts = [
        ("alerts", body, {}),
        ("alerts", body, {"webhook_id": "e", "webhook_timestamp": str(int(now)), "webhook_signature": "v1,AAAA"}),
        ("alerts", body, {"webhook_id": "late", "webhook_timestamp": str(int(now - 400)), "webhook_signature": late}),
        ("alerts", b"\xff{not json", {"authorization": f"Bearer {daemon.token}"}),
        ("plain", body, hmac_headers(b"other", now, bytes.hex)),
        ("plain", body, hmac_headers(body, now - 400, bytes.hex)),
        ("plain", body, {**hmac_headers(body, now, bytes.hex), "x_timestamp": "1e9"}),
        ("repo", body, {"x_hub_signature_256": "sha256=00"}),
        ("token", body, {"authorization": "Bearer wrong"}),
        ("own", body, {"authorization": f"Bearer {daemon.token}"}),
        ("open", body, {}),
    ]  # fmt: skip
    for name, raw, headers in attempts * 8:  # 88 failures of one address lock nobody out
        answer = send(daemon, name, raw, **headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_invalid"), (name, headers, answer.text)
    assert alert(daemon, "evt_after").status_code == 202
    shown = daemon.http("GET", "/v1/connectors/plain").json()
    assert shown["rejected"] == 24
    assert 'kheish_ingress_rejected_total{connector="plain"} 24' in daemon.http("GET", "/metrics").text
    entries = [one["data"] for one in daemon.client.audit.list(action="auth", limit=200)["items"]]
    assert len([one for one in entries if "ingress/plain: " in one["target"]]) in (1, 2, 3)
    assert not daemon.client.connectors.receipts("own")["items"]


def test_github_is_known_by_its_delivery(daemon: Daemon) -> None:
    body = b'{"action":"opened","issue":{"number":1}}'
    mac = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x_hub_signature_256": mac, "x_github_delivery": "d-1", "x_github_event": "issues"}
    first, again = send(daemon, "repo", body, **headers), send(daemon, "repo", body, **headers)
    assert first.status_code == 202 and again.json()["run_id"] == first.json()["run_id"]
    run = daemon.run(first.json()["run_id"], "completed")
    assert run["output"] == "opened" and run["request"]["metadata"]["event"] == "issues"
    for changed in ({"x_github_delivery": "d-3"}, {"x_github_delivery": ""}):
        replayed = send(daemon, "repo", body, **{**headers, **changed}).json()
        assert replayed["duplicate"] and replayed["run_id"] == run["run_id"]
    ping = send(daemon, "repo", body, **{**headers, "x_github_event": "ping"})
    assert ping.status_code == 200 and "ignored" in ping.json()
    refused = send(daemon, "repo", body, **{**headers, "x_github_event": "push", "x_github_delivery": "d-2"})
    assert (refused.status_code, refused.json()["code"]) == (403, "sender_not_allowed")


def test_bearer_tokens_of_kheish_have_one_connector(daemon: Daemon) -> None:
    made = daemon.client.tokens.create("sender", "ingress:own")
    other = daemon.client.tokens.create("stranger", "ingress:plain")
    answers = [
        send(daemon, "own", {"a": 1}, authorization=f"Bearer {one['token']}", idempotency_key="k")
        for one in (made, other)
    ]
    assert [one.status_code for one in answers] == [202, 401]
    headers = {"authorization": f"Bearer {made['token']}"}
    assert daemon.http("GET", "/v1/connectors", headers=headers).status_code == 403


def test_limits_of_size_rate_and_senders(daemon: Daemon) -> None:
    assert bearer(daemon, "token", {"who": "ann", "text": "x" * 3000}).status_code == 413
    assert bearer(daemon, "token", {"who": "eve", "text": "x"}).json()["code"] == "sender_not_allowed"
    wrong = bearer(daemon, "token", b"{not json")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")
    statuses = [bearer(daemon, "token", {"who": "ann", "text": str(n)}).status_code for n in range(4)]
    assert statuses == [202, 202, 202, 429]  # two were counted above
    refused = bearer(daemon, "token", {"who": "ann", "text": "y"})
    assert int(refused.headers["retry-after"]) >= 1 and refused.json()["retry_after"] >= 1


def test_a_message_in_a_channel_and_a_flow(daemon: Daemon) -> None:
    posted = bearer(daemon, "room", {"who": "u1", "text": "hello room"}).json()
    [message] = daemon.client.channels.messages("lobby")["items"]
    assert message["message_id"] == posted["message_id"] and message["from"]["member"] == "ann"
    release(daemon, "p", PLAYBOOK)
    started = bearer(daemon, "flows", {"service": "billing"}, idempotency_key="f1")
    assert started.status_code == 202, started.text
    flow = daemon.client.flows.get(started.json()["flow_id"])
    assert flow["inputs"] == {"service": "billing"}
    assert bearer(daemon, "flows", {"service": "x"}, idempotency_key="f1").json()["flow_id"] == flow["flow_id"]


def test_hostile_bodies_do_not_stop_the_daemon(daemon: Daemon) -> None:
    deep = b'{"text":' + b"[" * 900 + b"]" * 900 + b',"who":"ann"}'
    for body in (deep, b"[]", b"null", b'{"text": 1e999}', b'{"text":"\\ud800","who":"ann"}', b"\xff\xfe", b""):
        answer = bearer(daemon, "room", body)
        assert answer.status_code in (202, 400), (body[:40], answer.text)
    assert daemon.http("GET", "/v1/status").status_code == 200


def test_same_key_at_the_same_moment_starts_one_run(daemon: Daemon) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [one.json() for one in pool.map(lambda _: alert(daemon, "evt_many", service="many"), range(8))]
    assert len({one["run_id"] for one in answers}) == 1
    assert sorted(one["duplicate"] for one in answers) == [False, *[True] * 7]


def test_the_sample_of_the_command_line(daemon: Daemon) -> None:
    for name in ("alerts", "plain", "repo"):
        body = daemon.workspace / "sample.json"
        body.write_text(json.dumps({"service": "cli", "message": "sample", "action": "opened"}))
        done = daemon.cli("connectors", "test", name, "--body", str(body), "--output", "json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["status"] == 202 and daemon.run(answer["answer"]["run_id"], "completed")
    run_id = json.loads(done.stdout)["answer"]["run_id"]
    assert daemon.http("GET", f"/v1/runs/{run_id}").json()["request"]["metadata"]["event"] == "issues"
    refused = daemon.cli("connectors", "test", "repo", "--body", str(body), "--event", "push")
    assert refused.returncode != 0 and "'push'" in refused.stderr
    listed = daemon.cli("connectors", "receipts", "alerts", "--quiet")
    assert listed.stdout.splitlines() and listed.returncode == 0
    shown = daemon.http("GET", "/v1/connectors/alerts").json()
    assert shown["state"] == "ready" and shown["ingress"] == "/v1/ingress/alerts" and shown["received"] > 0


def test_a_connector_that_is_not_ready(daemon: Daemon) -> None:
    file = {**FILES["plain"], "verify": {"scheme": "hmac", "secret": "absent"}}
    assert daemon.http("PUT", "/v1/connectors/absent", file).json()["state"] == "not_ready"
    answer = send(daemon, "absent", b"{}")
    assert (answer.status_code, answer.json()["code"]) == (503, "connector_not_ready")
    assert daemon.http("PUT", "/v1/connectors/absent", {**file, "disabled": True}).json()["state"] == "disabled"
    assert send(daemon, "absent", b"{}").status_code == 503
    daemon.client.connectors.delete("absent")
    assert send(daemon, "absent", b"{}").status_code == 404
    with pytest.raises(NotFound):
        daemon.client.connectors.receipts("never")


def test_a_mistake_in_the_own_file_is_no_error_of_the_sender(daemon: Daemon) -> None:
    playbook = {**FILES["flows"], "target": {"flow": {"playbook": "never-published"}}}
    inputs = {**FILES["flows"], "target": {"flow": {"playbook": "own-inputs", "inputs": {"nope": "{service}"}}}}
    release(daemon, "own-inputs", PLAYBOOK)
    checked = daemon.http("POST", "/v1/connectors/validate?id=lost", playbook).json()
    assert checked["valid"] and [one["code"] for one in checked["problems"]] == ["connector_not_ready"], checked
    for name, file, state in (("lost", playbook, "not_ready"), ("unfit", inputs, "failing")):
        assert daemon.http("PUT", f"/v1/connectors/{name}", file).status_code == 201
        answer = bearer(daemon, name, {"service": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "connector_not_ready"), answer.text
        shown = daemon.http("GET", f"/v1/connectors/{name}").json()
        assert shown["state"] == state and shown["last_error"], shown
        problems = daemon.http("GET", "/v1/problems").json()["items"]
        assert [one["code"] for one in problems if one["path"] == f"connectors/{name}.yaml"] == ["connector_failing"]
    fixed = {**inputs, "target": {"flow": {"playbook": "own-inputs", "inputs": {"service": "{service}"}}}}
    assert daemon.http("PUT", "/v1/connectors/unfit", fixed).json()["state"] == "ready"
    assert bearer(daemon, "unfit", {"service": "x"}).status_code == 202
    wrong = {**FILES["plain"], "map": {"content": "a["}}
    refused = daemon.http("PUT", "/v1/connectors/wrong", wrong)
    assert refused.status_code == 400 and "no JMESPath expression" in refused.text
    (daemon.root / "connectors" / "wrong.yaml").write_text(json.dumps(wrong))
    until(lambda: send(daemon, "wrong", b"{}").status_code == 503, what="the file with errors is known")
    (daemon.root / "connectors" / "wrong.yaml").unlink()


def test_a_connector_without_a_route_to_choose(daemon: Daemon) -> None:
    file = {**FILES["token"], "rate": "600/h"}
    daemon.http("PUT", "/v1/routes/other", ROUTES["echo"])
    daemon.http("PUT", "/v1/connectors/undecided", file)
    config = json.loads((daemon.root / "kheish.yaml").read_bytes())
    without = {name: value for name, value in config.items() if name != "default_route"}
    assert daemon.http("PUT", "/v1/config", without).status_code == 200
    try:
        shown = daemon.http("GET", "/v1/connectors/undecided").json()
        assert shown["state"] == "not_ready" and "Choose a route" in shown["last_error"]
        answer = bearer(daemon, "undecided", {"who": "ann", "text": "x"}, idempotency_key="u1")
        assert (answer.status_code, answer.json()["code"]) == (503, "connector_not_ready"), answer.text
    finally:
        assert daemon.http("PUT", "/v1/config", config).status_code == 200
        daemon.http("DELETE", "/v1/routes/other")
    assert bearer(daemon, "undecided", {"who": "ann", "text": "x"}, idempotency_key="u1").status_code == 202
    assert daemon.http("GET", "/v1/connectors/undecided").json()["state"] == "ready"


def test_a_name_is_a_connector_or_an_output(daemon: Daemon) -> None:
    taken = daemon.http("PUT", "/v1/outputs/alerts", {"kind": "http", "url": "https://example.org/"})
    assert taken.status_code == 400 and "the same name" in taken.text
    daemon.http("PUT", "/v1/outputs/back", {"kind": "http", "url": "https://example.org/"})
    file = {**FILES["own"], "reply_targets": [{"output": "back"}]}
    assert daemon.http("PUT", "/v1/connectors/answers", file).status_code == 201
    assert daemon.http("PUT", "/v1/connectors/back", FILES["own"]).status_code == 400
    wrong = daemon.http("PUT", "/v1/connectors/lost", {**file, "reply_targets": [{"output": "nowhere"}]})
    assert wrong.status_code == 400 and "nowhere" in wrong.text
    unknown = daemon.http("PUT", "/v1/connectors/odd", {"kind": "carrier-pigeon"}).json()
    assert unknown["state"] == "failing" and "carrier-pigeon" in unknown["last_error"]


def test_acknowledged_requests_survive_kill_9_and_are_found_again(tmp_path: Path) -> None:
    with Daemon.fresh(
        tmp_path, routes=ROUTES, config={"default_route": "echo"}, options=["--allow-unauthenticated"]
    ) as one:
        set_up(one)
        sent = {}
        for number in range(6):
            sent[f"k{number}"] = alert(one, f"k{number}", service=f"s{number % 2}").json()
        one.kill9()
        one.start()
        for key, led in sent.items():
            assert alert(one, key, service=f"s{int(key[1:]) % 2}").json() == {**led, "duplicate": True}
            one.run(led["run_id"], "completed")
        runs = one.client.runs.list(limit=100)["items"]
        assert len(runs) == 6 and len({run["session_id"] for run in runs}) == 2
        unproven = send(one, "open", {"where": "s9", "id": "1"})
        assert unproven.status_code == 202 and one.run(unproven.json()["run_id"], "completed")["session_id"] == "s9"
        assert send(one, "open", {"where": "../x", "id": "2"}).status_code == 400
        until(lambda: len(one.client.connectors.receipts("alerts")["items"]) == 6)


def test_a_workspace_that_a_user_can_repair_loses_no_request(daemon: Daemon) -> None:
    (daemon.workspace / ".kheish").mkdir()
    (daemon.workspace / ".kheish/token").touch()
    assert alert(daemon, "evt_kept", service="kept").status_code == 202
    (daemon.workspace / ".git").mkdir()
    (daemon.workspace / "format.yaml").touch()
    refused = alert(daemon, "evt_later", service="later")
    assert refused.status_code == 503 and "format.yaml" in refused.text, refused.text
    (daemon.workspace / "format.yaml").unlink()
    assert alert(daemon, "evt_later", service="later").status_code == 202
