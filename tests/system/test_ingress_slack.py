"""Slack on a real daemon: Socket Mode and HTTP, one run for each message, buttons for approvals and questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from slack_sdk.signature import SignatureVerifier

from tests.support.daemon import Daemon, ask, bash, call, until
from tests.support.slack_standin import BOT, Slack, buttons, message, press, slack

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
CHILD = {"name": "helper", "prompt": "clean", "route": "asks-twice"}
ROUTES: dict[str, Any] = {
    "echo": {"driver": "scripted", "script": {"echo": True}},
    "asks": [bash("rm -rf nothing-of-this-name"), {"text": "done"}],
    "asks-twice": [bash("rm -rf nothing-of-this-name"), ask("Which way?", ["left", "right"]), {"text": "done"}],
    "parent": [
        {"tool_calls": [{"name": "spawn_agent", "arguments": CHILD}]},
        {"tool_calls": [call("wait_agent", agents=["helper"])]},
        {"text": "the helper is done"},
    ],
    "survey": [
        {
            "tool_calls": [
                call(
                    "ask_user_question",
                    questions=[
                        {"header": "Way", "text": "Which way?", "options": [{"label": "left"}, {"label": "right"}]},
                        {
                            "header": "Toppings",
                            "text": "What on it?",
                            "options": [{"label": "ham"}, {"label": "egg"}],
                            "multi_select": True,
                        },
                    ],
                )
            ]
        },
        {"text": "{{last_result}}"},
    ],
    "unsure": [ask("Which way?", ["left", "right"]), {"text": "{{last_result}}"}],
}
PEOPLE = {"U1": "ann", "U2": "bob"}


@pytest.fixture(scope="module")
def platform() -> Iterator[Slack]:
    with slack() as standin:
        yield standin


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, platform: Slack) -> Iterator[Daemon]:
    config = {"default_route": "echo", "public_url": "https://kheish.example.org"}
    with Daemon.fresh(tmp_path_factory.mktemp("slack"), routes=ROUTES, config=config) as made:
        for slot in ("bot", "app"):
            made.client.secrets.put(slot, f"xox-{slot}-token-of-a-test")
        made.client.secrets.put("signing", SIGNING)
        common = {"kind": "slack", "token": "bot", "api_base": platform.api_base}
        for name, more in {
            "team": {"app_token": "app", "people": PEOPLE},
            "web": {"mode": "http", "verify": {"secret": "signing"}, "target": {"input": {"route": "asks"}},
                    "session": {"new": {}}, "allow": {"chats": ["C9"]}},
        }.items():  # fmt: skip
            answer = made.http("PUT", f"/v1/connectors/{name}", {**common, **more})
            assert answer.status_code == 201, answer.text
        until(lambda: state_of(made) == "connected", what="the socket is open")
        yield made


def state_of(daemon: Daemon) -> str:
    return str(daemon.http("GET", "/v1/connectors/team").json()["state"])


def receipts(daemon: Daemon, name: str = "team") -> list[dict[str, Any]]:
    return list(daemon.client.connectors.receipts(name, limit=200)["items"])


def newest_run(daemon: Daemon, ts: str, *statuses: str) -> dict[str, Any]:
    [receipt] = [one for one in receipts(daemon) if f"message:T1:C1:{ts}" in one["keys"]]
    return daemon.run(receipt["run_id"], *(statuses or ("completed",)))


def target(daemon: Daemon, route: str) -> None:
    """Have the connector's runs take a route."""
    file = {
        "kind": "slack",
        "token": "bot",
        "app_token": "app",
        "people": PEOPLE,
        "target": {"input": {"route": route}},
    }
    base = daemon.http("GET", "/v1/connectors/team").json()["api_base"]
    assert daemon.http("PUT", "/v1/connectors/team", {**file, "api_base": base}).status_code == 200


def reconnected(daemon: Daemon, platform: Slack, before: int) -> None:
    until(lambda: len(platform.connections) > before and state_of(daemon) == "connected", what="another socket")


def test_one_mention_sends_two_events_and_starts_one_run(daemon: Daemon, platform: Slack) -> None:
    text = f"<@{BOT}> look at &lt;this&gt;"
    mention = message(text, ts="1.1", type="app_mention")
    platform.deliver("events_api", mention, "e1")
    platform.deliver("events_api", message(text, ts="1.1"), "e2")
    platform.deliver("events_api", mention, "e3", retry_attempt=1, retry_reason="timeout")
    run = newest_run(daemon, "1.1")
    assert run["output"] == "look at <this>" and run["request"]["source"] == "slack"
    assert (
        run["request"]["metadata"] | {"channel": "C1", "thread_ts": "1.1", "person": "ann"}
        == run["request"]["metadata"]
    )
    assert len([one for one in receipts(daemon) if one["place"].get("thread_ts") == "1.1"]) == 1

    answers = until(lambda: [one for one in platform.of("chat.postMessage") if "look at" in str(one)])
    assert (answers[0]["channel"], str(answers[0]["thread_ts"])) == ("C1", "1.1")

    platform.deliver("events_api", message("in the thread", ts="1.2", thread_ts="1.1"), "e4")
    platform.deliver("events_api", message("another thread", ts="1.3", retry=1), "e5")
    sessions = [newest_run(daemon, ts)["session_id"] for ts in ("1.1", "1.2", "1.3")]
    assert sessions[0] == sessions[1] != sessions[2]


def test_bots_edits_and_deletions_are_acknowledged_and_ignored(daemon: Daemon, platform: Slack) -> None:
    before = len(receipts(daemon))
    for number, event in enumerate((
        message("x", ts="2.1", bot_id="B9"), message("x", ts="2.2", user=BOT), message("", ts="2.3"),
        message("x", ts="2.4", subtype="message_changed"), message("x", ts="2.5", subtype="message_deleted"),
        message("x", ts="2.6", subtype="bot_message"), message("x", ts="2.7", type="reaction_added"),
        {"type": "app_rate_limited"}, {},
    )):  # fmt: skip
        platform.deliver("events_api", event, f"i{number}")
    platform.push({"type": "events_api", "envelope_id": 7})
    assert len(receipts(daemon)) == before


def test_attachments_become_assets(daemon: Daemon, platform: Slack) -> None:
    platform.files["/files/notes.txt"] = b"the notes"
    files = [{"url_private": f"{platform.site.url}/files/notes.txt", "name": "notes.txt", "mimetype": "text/plain"}]
    foreign = [{"url_private": "https://evil.example/steal", "name": "steal.txt"}]
    platform.deliver("events_api", message("read", ts="2.8", subtype="file_share", files=files + foreign), "f1")
    items = newest_run(daemon, "2.8")["request"]["items"]
    assert [one["type"] for one in items] == ["text", "asset", "text"] and "steal.txt" in items[2]["text"]
    asset = daemon.http("GET", f"/v1/assets/{items[1]['asset_id']}").json()
    assert asset["name"] == "notes.txt" and asset["origin"]["kind"] == "connector"


def test_a_button_decides_an_approval_once_and_for_listed_persons_only(daemon: Daemon, platform: Slack) -> None:
    before = len(platform.connections)
    target(daemon, "asks")
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("clean up", ts="3.1"), "a1")
    run = newest_run(daemon, "3.1", "waiting_for_approval")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "3.1"])[0]
    approval_id = run["pending_approvals"][0]
    assert (
        approval_id in json.dumps(asked["blocks"])
        and "rm -rf nothing-of-this-name" in asked["blocks"][0]["text"]["text"]
    )
    allow = buttons(asked)["Allow"]
    assert approval_id not in allow["value"]

    platform.deliver("interactive", press(allow, user="U3"), "a2")
    platform.deliver("interactive", press(allow, user="U1", channel="C2"), "a3")
    platform.deliver("interactive", press({"value": "kb_forged"}, user="U1"), "a4")
    told = until(lambda: platform.of("chat.postEphemeral") if len(platform.of("chat.postEphemeral")) >= 3 else None)
    assert {one["user"] for one in told} == {"U3", "U1"}
    assert daemon.client.approvals.get(approval_id)["status"] == "pending"

    platform.deliver("interactive", press(allow, user="U1"), "a5")
    approval = daemon.client.approvals.get(approval_id)
    assert approval["status"] == "allowed"
    decision = approval["decisions"][0]
    assert (decision["by"], decision["via"], decision["person"]) == ("ann", "slack", "ann")
    updated = until(lambda: platform.of("chat.update"))[-1]
    assert "allowed by ann (via slack)" in str(updated["text"]) and not buttons(updated)
    assert newest_run(daemon, "3.1")["output"] == "done"
    platform.deliver("interactive", press(allow, user="U2"), "a6")
    until(lambda: len(platform.of("chat.postEphemeral")) == 4, what="told that it is too late")


def test_two_persons_decide_with_buttons_of_their_own(daemon: Daemon, platform: Slack) -> None:
    daemon.write("permissions.yaml", {"mode": "default", "approvals": {"required": 2}})
    until(lambda: daemon.http("GET", "/v1/permissions").json()["approvals"]["required"] == 2)
    platform.deliver("events_api", message("clean up twice", ts="4.1"), "b1")
    run = newest_run(daemon, "4.1", "waiting_for_approval")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "4.1"])[0]
    updates = len(platform.of("chat.update"))
    platform.deliver("interactive", press(buttons(asked)["Allow"], user="U1"), "b2")
    renewed = until(lambda: platform.of("chat.update")[updates:])[0]
    assert "Allowed by ann" in renewed["blocks"][0]["text"]["text"]
    assert buttons(renewed)["Allow"]["value"] != buttons(asked)["Allow"]["value"]
    platform.deliver("interactive", press(buttons(renewed)["Allow"], user="U1"), "b3")
    assert daemon.client.approvals.get(run["pending_approvals"][0])["status"] == "pending"
    platform.deliver("interactive", press(buttons(renewed)["Allow"], user="U2"), "b4")
    approval = daemon.client.approvals.get(run["pending_approvals"][0])
    assert approval["status"] == "allowed" and [one["person"] for one in approval["decisions"]] == ["ann", "bob"]
    newest_run(daemon, "4.1")


def test_a_question_is_answered_by_a_button(daemon: Daemon, platform: Slack) -> None:
    before = len(platform.connections)
    target(daemon, "unsure")
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("go", ts="5.1"), "q1")
    run = newest_run(daemon, "5.1", "waiting_for_question")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "5.1"])[0]
    assert set(buttons(asked)) == {"left", "right"}
    platform.deliver("interactive", press(buttons(asked)["right"], user="U2"), "q2")
    question = daemon.client.questions.get(run["pending_questions"][0])
    assert question["status"] == "answered" and question["answered_by"] == "bob"
    assert "right" in newest_run(daemon, "5.1")["output"]


def updated(platform: Slack, number: int) -> dict[str, Any]:
    """The update of a message with this number."""
    return until(lambda: platform.of("chat.update")[number : number + 1], what=f"update {number}")[0]


def test_the_items_of_a_question_are_answered_one_after_the_other(daemon: Daemon, platform: Slack) -> None:
    before, count = len(platform.connections), len(platform.of("chat.update"))
    target(daemon, "survey")
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("go", ts="6.1"), "s1")
    run = newest_run(daemon, "6.1", "waiting_for_question")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "6.1"])[0]
    assert set(buttons(asked)) == {"left", "right"} and "▸ Way" in asked["blocks"][0]["text"]["text"]
    platform.deliver("interactive", press(buttons(asked)["right"], user="U1"), "s2")
    second = updated(platform, count)
    assert set(buttons(second)) == {"ham", "egg", "Done"} and "✓ right" in second["blocks"][0]["text"]["text"]
    refusals = len(platform.of("chat.postEphemeral"))
    platform.deliver("interactive", press(buttons(second)["Done"], user="U1"), "s3")
    platform.deliver("interactive", press(buttons(asked)["left"], user="U1"), "s4")
    until(lambda: len(platform.of("chat.postEphemeral")) == refusals + 2, what="nothing was chosen; the item is over")
    for number, label in enumerate(("ham", "egg", "✓ ham")):
        platform.deliver(
            "interactive", press(buttons(updated(platform, count + number))[label], user="U2"), f"s5{number}"
        )
    last = updated(platform, count + 3)
    assert set(buttons(last)) == {"ham", "✓ egg", "Done"}
    platform.deliver("interactive", press(buttons(last)["Done"], user="U2"), "s6")
    question = daemon.client.questions.get(run["pending_questions"][0])
    assert question["status"] == "answered" and question["answered_by"] == "bob"
    assert {id: one["selected"] for id, one in question["answers"].items()} == {"q1": ["b"], "q2": ["b"]}
    newest_run(daemon, "6.1")


def test_a_child_asks_where_its_parent_was_given_the_work(daemon: Daemon, platform: Slack) -> None:
    before = len(platform.connections)
    target(daemon, "parent")
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("go", ts="12.1"), "c1")

    def posted(at: int) -> dict[str, Any]:
        thread = [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "12.1"]
        return next(iter(thread[at:]), {})

    approval = until(lambda: posted(0), what="the approval is asked for")
    platform.deliver("interactive", press(buttons(approval)["Deny"], user="U1"), "c2")
    question = until(lambda: posted(1), what="the question is asked")
    platform.deliver("interactive", press(buttons(question)["left"], user="U1"), "c3")
    assert all("Asked by the agent root/helper." in one["text"] for one in (approval, question))
    assert newest_run(daemon, "12.1")["output"] == "the helper is done"


def test_the_thread_shows_that_the_agent_works(daemon: Daemon, platform: Slack) -> None:
    statuses = platform.of("assistant.threads.setStatus")
    shown = [one["status"] for one in statuses if str(one["thread_ts"]) == "12.1"]
    assert shown[0] == "is working…" and all(one["channel_id"] == "C1" for one in statuses)
    until(lambda: [one["status"] for one in platform.of("assistant.threads.setStatus")
                   if str(one["thread_ts"]) == "12.1"][-1] == "")  # fmt: skip


def test_slash_commands_and_a_disconnect(daemon: Daemon, platform: Slack) -> None:
    before = len(platform.connections)
    target(daemon, "echo")
    reconnected(daemon, platform, before)
    command = {
        "command": "/kheish",
        "text": "do it",
        "user_id": "U1",
        "channel_id": "C1",
        "team_id": "T1",
        "trigger_id": "t.1",
    }
    platform.deliver("slash_commands", command, "s1", accepts_response_payload=True)
    said = platform.deliver("slash_commands", {**command, "text": ""}, "s2", accepts_response_payload=True)
    assert "task" in said["payload"]["text"]
    before = len(platform.connections)
    platform.push({"type": "disconnect", "reason": "warning"})
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("after", ts="6.1"), "s3")
    newest_run(daemon, "6.1")


# --- HTTP -------------------------------------------------------------------------------------------------------------


def post(daemon: Daemon, body: str, media: str = "application/json", secret: str = SIGNING) -> httpx.Response:
    """A request with a signature of Slack's own package."""
    import time

    now = str(int(time.time()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=now, body=body)
    headers = {"x-slack-request-timestamp": now, "x-slack-signature": signature or "", "content-type": media}
    return httpx.post(f"{daemon.url}/v1/ingress/web", content=body, headers=headers, timeout=60, trust_env=False)


def test_http_events_and_interactivity(daemon: Daemon, platform: Slack) -> None:
    challenge = post(daemon, json.dumps({"type": "url_verification", "challenge": "c1"}))
    assert (challenge.status_code, challenge.json()) == (200, {"challenge": "c1"})
    form = "application/x-www-form-urlencoded"
    assert post(daemon, "ssl_check=1&token=x", form).status_code == 200
    assert post(daemon, json.dumps({"type": "url_verification"}), secret="wrong").json()["code"] == "signature_invalid"
    ignored = post(daemon, json.dumps(message("elsewhere", ts="7.0", channel="C8")))
    assert ignored.status_code == 200 and "ignored" in ignored.json()
    body = json.dumps(message("over http", ts="7.1", channel="C9"))
    first, again = post(daemon, body), post(daemon, body)
    assert first.status_code == 202 and again.json() == {**first.json(), "duplicate": True}
    daemon.run(first.json()["run_id"], "waiting_for_approval")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "7.1"])[0]
    text = asked["blocks"][0]["text"]["text"]
    assert not buttons(asked) and "kheish approvals allow" in text and "https://kheish.example.org" in text
    pressed = post(daemon, urlencode({"payload": json.dumps(press({"value": "kb_x"}, user="U1", channel="C9"))}), form)
    assert pressed.status_code == 200


def test_the_connectors_are_tested_from_the_command_line(daemon: Daemon, platform: Slack) -> None:
    for name in ("team", "web"):
        done = daemon.cli("connectors", "test", name, "--output", "json")
        assert done.returncode == 0 and json.loads(done.stdout)["answer"]["bot_id"] == "B1", done.stderr
    platform.refuse["auth.test"] = "invalid_auth"
    assert daemon.cli("connectors", "test", "web").returncode != 0
    del platform.refuse["auth.test"]


def test_an_open_message_is_continued_after_a_kill(daemon: Daemon, platform: Slack) -> None:
    before = len(platform.connections)
    target(daemon, "asks")
    daemon.write("permissions.yaml", {"mode": "default"})
    reconnected(daemon, platform, before)
    platform.deliver("events_api", message("clean up later", ts="8.1"), "k1")
    run = newest_run(daemon, "8.1", "waiting_for_approval")
    asked = until(lambda: [one for one in platform.of("chat.postMessage") if str(one.get("thread_ts")) == "8.1"])[0]
    before = len(platform.connections)
    daemon.restart()
    reconnected(daemon, platform, before)
    platform.deliver("interactive", press(buttons(asked)["Deny"], user="U1"), "k2")
    approval = daemon.client.approvals.get(run["pending_approvals"][0])
    assert approval["status"] == "denied" and approval["decisions"][0]["by"] == "ann"
    until(lambda: "denied by ann" in str(platform.of("chat.update")[-1:]))
    platform.deliver("events_api", message("clean up later", ts="8.1"), "k3")
    assert len([one for one in receipts(daemon) if "message:T1:C1:8.1" in one["keys"]]) == 1
