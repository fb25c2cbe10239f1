"""Telegram on a real daemon: polling with its offset in the receipt, conflicts, moves of chats, buttons, webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, bash, until
from tests.support.telegram_standin import TOKEN, Telegram, keys, message, press, telegram

HOOK = "the-secret-token-of-the-webhook"
ROUTES: dict[str, Any] = {
    "echo": {"driver": "scripted", "script": {"echo": True}},
    "asks": [bash("rm -rf nothing-of-this-name"), {"text": "done"}],
}


@pytest.fixture(scope="module")
def platform() -> Iterator[Telegram]:
    with telegram() as standin:
        yield standin


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, platform: Telegram) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("telegram"), routes=ROUTES, config={"default_route": "echo"}) as made:
        made.client.secrets.put("bot", TOKEN)
        made.client.secrets.put("hook", HOOK)
        common = {"kind": "telegram", "token": "bot", "api_base": platform.site.url, "people": {"7": "ann"}}
        for name, more in {
            "chat": {"allow": {"chats": ["-5", "-6", "-1006"]}},
            "hook": {"mode": "webhook", "verify": {"secret": "hook"}, "allow": {"senders": ["7"]}},
        }.items():
            answer = made.http("PUT", f"/v1/connectors/{name}", {**common, **more})
            assert answer.status_code == 201, answer.text
        yield made


def receipts(daemon: Daemon, name: str = "chat") -> list[dict[str, Any]]:
    return list(daemon.client.connectors.receipts(name, limit=200)["items"])


def run_of(daemon: Daemon, number: int, *statuses: str) -> dict[str, Any]:
    """The run of an update."""
    found = until(lambda: [one for one in receipts(daemon) if f"update:{number}" in one["keys"]], what="a receipt")
    return daemon.run(found[0]["run_id"], *(statuses or ("completed",)))


def target(daemon: Daemon, route: str) -> None:
    file = daemon.http("GET", "/v1/connectors/chat").json()
    answer = daemon.http("PUT", "/v1/connectors/chat", {**file, "target": {"input": {"route": route}}})
    assert answer.status_code == 200, answer.text


def codes(daemon: Daemon) -> set[str]:
    return {one["code"] for one in daemon.client.problems()["items"]}


def test_messages_edits_topics_and_files(daemon: Daemon, platform: Telegram) -> None:
    platform.files["D1"] = b"the notes"
    first = platform.send(message=message("hello"))
    edited = platform.send(edited_message=message("hello there"))
    topic = platform.send(message=message("in a topic", is_topic_message=True, message_thread_id=3))
    document = {"file_id": "D1", "file_name": "notes.txt", "mime_type": "text/plain"}
    file = platform.send(message=message(caption="read it", document=document))
    platform.send(message=message("of a stranger", chat=-9))
    platform.send(message={**message("of a bot"), "from": {"id": 8, "is_bot": True}})
    runs = [run_of(daemon, number) for number in (first, edited, topic, file)]
    assert runs[0]["output"] == "hello" and runs[0]["request"]["source"] == "telegram"
    assert runs[0]["request"]["metadata"]["person"] == "ann" and "hello there" in runs[1]["output"]
    sessions = [run["session_id"] for run in runs]
    assert sessions[0] == sessions[1] == sessions[3] != sessions[2]
    assert [item["type"] for item in runs[3]["request"]["items"]] == ["text", "asset"]
    last = platform.send(message=message("last"))
    run_of(daemon, last)
    until(lambda: platform.offsets[-1] == last + 1, what="the offset is confirmed")
    assert len(receipts(daemon)) == 5
    answers = until(lambda: [one for one in platform.of("sendMessage") if "in a topic" in str(one.get("text"))])
    assert (str(answers[0]["chat_id"]), answers[0]["message_thread_id"]) == ("-5", 3)


def test_a_moved_chat_keeps_its_session(daemon: Daemon, platform: Telegram) -> None:
    before = run_of(daemon, platform.send(message=message("before", chat=-6)))
    platform.send(message=message(chat=-6, migrate_to_chat_id=-1006))
    platform.send(message=message(chat=-1006, migrate_from_chat_id=-6))
    after = run_of(daemon, platform.send(message=message("after", chat=-1006)))
    assert before["session_id"] == after["session_id"]
    private = run_of(daemon, platform.send(message=message("private")))
    platform.send(message=message(chat=-9, migrate_to_chat_id=-5))  # of a chat that is not allowed
    assert run_of(daemon, platform.send(message=message("again")))["session_id"] == private["session_id"]


def test_two_bots_in_one_chat_have_two_sessions(daemon: Daemon, platform: Telegram) -> None:
    private = run_of(daemon, platform.send(message=message("private")))
    update = {"update_id": 900, "message": message("by the other bot")}
    headers = {"x-telegram-bot-api-secret-token": HOOK}
    url = f"{daemon.url}/v1/ingress/hook"
    led = httpx.post(url, json=update, headers=headers, timeout=60, trust_env=False).json()
    assert daemon.run(led["run_id"], "completed")["session_id"] != private["session_id"]


def test_a_button_decides(daemon: Daemon, platform: Telegram) -> None:
    target(daemon, "asks")
    until(lambda: daemon.http("GET", "/v1/connectors/chat").json()["state"] == "connected")
    platform.migrated["-6"] = -1006
    number = platform.send(message=message("clean up", chat=-6))
    run = run_of(daemon, number, "waiting_for_approval")
    asked = until(lambda: [one for one in platform.of("sendMessage") if "reply_markup" in one])[0]
    assert asked["chat_id"] == "-1006"
    allow = keys(asked)["Allow"]
    assert len(allow["callback_data"].encode()) <= 64
    platform.send(callback_query=press(allow, user=9, chat=-1006))
    refused = until(lambda: platform.of("answerCallbackQuery"))[0]
    assert refused["show_alert"] is True and "Only persons" in refused["text"]
    platform.send(callback_query=press(allow, user=7, chat=-1006))
    approval = until(lambda: _decided(daemon, run["pending_approvals"][0]))
    assert (approval["decisions"][0]["by"], approval["decisions"][0]["via"]) == ("ann", "telegram")
    until(lambda: [one for one in platform.of("editMessageText") if "allowed by ann" in one["text"]])
    run_of(daemon, number)
    target(daemon, "echo")


def _decided(daemon: Daemon, id: str) -> dict[str, Any] | None:
    found = daemon.client.approvals.get(id)
    return dict(found) if found["status"] != "pending" else None


def test_a_conflict_is_a_problem_until_it_is_over(daemon: Daemon, platform: Telegram) -> None:
    platform.conflict = "terminated by other getUpdates request; make sure that only one bot instance is running"
    until(lambda: "telegram_conflict" in codes(daemon), what="the problem")
    assert daemon.http("GET", "/v1/connectors/chat").json()["state"] == "failing"
    platform.conflict = None
    file = daemon.http("GET", "/v1/connectors/chat").json()
    daemon.http("PUT", "/v1/connectors/chat", {**file, "title": "Another"})  # an edit starts the loop at once
    number = platform.send(message=message("after the conflict"))
    run_of(daemon, number)
    until(lambda: "telegram_conflict" not in codes(daemon), what="no problem")


def test_updates_around_a_kill_start_one_run_each(daemon: Daemon, platform: Telegram) -> None:
    numbers = [platform.send(message=message(f"number {n}")) for n in range(3)]
    until(lambda: any(f"update:{numbers[0]}" in one["keys"] for one in receipts(daemon)))
    daemon.kill9()
    numbers.append(platform.send(message=message("while it is down")))
    daemon.start()
    for number in numbers:
        run_of(daemon, number)
    known = [key for one in receipts(daemon) for key in one["keys"]]
    assert len(known) == len(set(known))


def test_a_message_that_can_never_be_taken_in_does_not_stop_the_others(daemon: Daemon, platform: Telegram) -> None:
    ended = run_of(
        daemon, platform.send(message=message("a session that ends", is_topic_message=True, message_thread_id=9))
    )
    daemon.client.sessions.end(ended["session_id"])
    late = platform.send(message=message("too late", is_topic_message=True, message_thread_id=9))
    run_of(daemon, platform.send(message=message("next")))
    [refused] = [one for one in receipts(daemon) if f"update:{late}" in one["keys"]]
    assert refused["state"] == "refused" and "ended" in refused["reason"] and refused["run_id"] is None


def test_a_webhook_needs_its_secret_token(daemon: Daemon) -> None:
    def post(secret: str, update: Any) -> httpx.Response:
        headers = {"x-telegram-bot-api-secret-token": secret}
        url = f"{daemon.url}/v1/ingress/hook"
        return httpx.post(url, json=update, headers=headers, timeout=60, trust_env=False)

    update = {"update_id": 1, "message": message("by webhook")}
    assert post("wrong", update).json()["code"] == "signature_invalid"
    first, again = post(HOOK, update), post(HOOK, update)
    assert first.status_code == 202 and again.json() == {**first.json(), "duplicate": True}
    assert daemon.run(first.json()["run_id"], "completed")["output"] == "by webhook"
    assert post(HOOK, {"update_id": 2, "message": message("x", user=8)}).status_code == 200
    assert post(HOOK, {"no": "update"}).status_code == 400
    assert daemon.cli("connectors", "test", "chat").returncode == 0
    answer = httpx.post(f"{daemon.url}/v1/ingress/chat", content=b"{}", timeout=60, trust_env=False)
    assert answer.status_code == 404
