"""Deliveries of a real daemon to each kind of target, by stand-ins on loopback."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import Invalid
from tests.support.daemon import Daemon, ask, bash, until
from tests.support.mails import PASSWORD, letters, mail_server
from tests.support.receiver import Got, Receiver, Reply, receive
from tests.system.test_deliveries import ended, start

TOKEN = "123456:a-token-for-a-bot"
LONG = "\n\n".join(f"## Part {number}\n" + "words " * 400 for number in range(12))
ROUTES: dict[str, Any] = {
    "hello": [{"text": "# Done\n\n**All** of `it` is < done >"}],
    "long": [{"text": LONG}],
    "asks": [ask("Which one?", ["left", "right"]), {"text": "thanks"}],
    "needs": [bash("touch x"), {"text": "done"}],
    "down": {"driver": "scripted", "script": {"turns": [{"error": {"status": 500}}] * 3}, "max_retries": 0},
}


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("mails")
    with mail_server(folder) as port:
        yield folder, port


@pytest.fixture(scope="module")
def site() -> Iterator[Receiver]:
    with receive() as site:
        yield site


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, site: Receiver) -> Iterator[Daemon]:
    config = {"default_route": "hello", "network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(tmp_path_factory.mktemp("kinds"), routes=ROUTES, config=config) as daemon:
        daemon.client.secrets.put("bot", TOKEN)
        daemon.client.secrets.put("mail", PASSWORD)
        yield daemon


def put(daemon: Daemon, name: str, **file: Any) -> None:
    retry = {"max": "1s", "give_up": "60s"}
    daemon.client.definitions("outputs").put(name, {"retry": retry, **file})


def deliver(daemon: Daemon, session: str, target: dict[str, Any], state: str = "delivered", **more: Any) -> Any:
    daemon.client.sessions.create(session, route=more.pop("route", "hello"))
    run = daemon.client.runs.start(session, "go", reply_targets=[target], wait="30s", **more)
    return ended(daemon, run.run_id, state=state)[0]


# --- Slack ------------------------------------------------------------------------------------------------------------


class Channel:
    """A channel of Slack: it keeps messages, and answers look-ups with their metadata."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.lose = 0  # answers to posts that are lost

    def __call__(self, got: Got) -> Reply:
        method, form = got.path.rpartition("/")[2], got.form
        if method == "chat.postMessage":
            self.messages.append({**form, "ts": f"{time.time():.6f}", "metadata": json.loads(form["metadata"])})
            if self.lose:
                self.lose -= 1
                return Reply(drop=True)
            return Reply(body={"ok": True, "ts": self.messages[-1]["ts"]})
        assert method in ("conversations.history", "conversations.replies")
        return Reply(body={"ok": True, "messages": self.messages[::-1]})


def test_a_long_text_is_posted_to_slack_in_parts_in_its_thread(daemon: Daemon, site: Receiver) -> None:
    channel = site.answer = Channel()
    put(daemon, "slack", kind="slack", token="bot", channel="C0", api_base=f"{site.url}/api")
    target = {"output": "slack", "channel": "C1", "thread_ts": "17.5"}
    delivery = deliver(daemon, "slack", target, route="long")
    assert delivery["parts"] == delivery["parts_done"] == len(channel.messages) > 1
    assert {(one["channel"], one["thread_ts"]) for one in channel.messages} == {("C1", "17.5")}
    assert all(len(one["markdown_text"]) <= 11_500 for one in channel.messages)
    joined = "".join(one["markdown_text"] for one in channel.messages)
    assert joined.replace("\n", "") == LONG.replace("\n", "") and delivery["receipt"] == channel.messages[-1]["ts"]


def test_a_message_whose_answer_was_lost_is_found_in_slack_and_not_posted_twice(daemon: Daemon, site: Receiver) -> None:
    channel = site.answer = Channel()
    channel.lose = 1
    put(daemon, "slack", kind="slack", token="bot", channel="C0", api_base=f"{site.url}/api")
    delivery = deliver(daemon, "slack-lost", {"output": "slack"})
    assert len(channel.messages) == 1 and delivery["unknown_end"] and delivery["attempts"] == 2


def test_a_part_that_arrived_is_not_posted_again(daemon: Daemon, site: Receiver) -> None:
    channel = site.answer = Channel()
    put(daemon, "slack", kind="slack", token="bot", channel="C0", api_base=f"{site.url}/api")
    posts = iter(range(9))
    site.answer = lambda got: Reply(429, headers={"Retry-After": "1"}) if next(posts) == 1 else channel(got)
    delivery = deliver(daemon, "slack-parts", {"output": "slack"}, route="long")
    assert [one["metadata"]["event_payload"]["part"] for one in channel.messages] == [1, 2, 3][: delivery["parts"]]
    assert delivery["attempts"] == 2


def test_a_refusal_of_slack_is_a_dead_letter(daemon: Daemon, site: Receiver) -> None:
    site.answer = lambda got: Reply(body={"ok": False, "error": "channel_not_found"})
    put(daemon, "slack", kind="slack", token="bot", channel="C0", api_base=f"{site.url}/api")
    dead = deliver(daemon, "slack-dead", {"output": "slack"}, state="dead_letter")
    assert "channel_not_found" in dead["last_error"] and TOKEN not in dead["last_error"]


# --- Telegram ---------------------------------------------------------------------------------------------------------


def sent(got: Got) -> Reply:
    return Reply(body={"ok": True, "result": {"message_id": 5}})


def test_telegram_gets_escaped_html_in_the_topic(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    site.answer = sent
    put(daemon, "telegram", kind="telegram", token="bot", chat=-100, api_base=site.url)
    delivery = deliver(daemon, "telegram", {"output": "telegram", "topic": 7})
    (got,) = site.got
    assert got.path == f"/bot{TOKEN}/sendMessage" and delivery["receipt"] == "5"
    assert got.json == {
        "chat_id": -100, "message_thread_id": 7, "parse_mode": "HTML",
        "text": "<b>Done</b>\n\n<b>All</b> of <code>it</code> is &lt; done &gt;",
    }  # fmt: skip


def test_a_long_text_is_sent_to_telegram_in_parts(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    site.answer = sent
    put(daemon, "telegram", kind="telegram", token="bot", chat=-100, api_base=site.url)
    delivery = deliver(daemon, "telegram-long", {"output": "telegram"}, route="long")
    texts = [got.json["text"] for got in site.got]
    assert delivery["parts"] == delivery["parts_done"] == len(texts) > 1 and max(map(len, texts)) <= 4096
    assert re.sub(r"</?b>|\s", "", "".join(texts)) == re.sub(r"##|\s", "", LONG)


def test_a_text_that_telegram_cannot_parse_is_sent_once_more_as_plain_text(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    description = "Bad Request: can't parse entities: unsupported start tag"
    refusal = Reply(400, {"ok": False, "error_code": 400, "description": description})
    site.answer = lambda got: refusal if "parse_mode" in got.json else sent(got)
    put(daemon, "telegram", kind="telegram", token="bot", chat=-100, api_base=site.url)
    assert deliver(daemon, "telegram-plain", {"output": "telegram"})["attempts"] == 1
    assert [got.json.get("parse_mode") for got in site.got] == ["HTML", None]


def test_a_group_that_became_a_supergroup_gets_the_message_there(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    moved = {"ok": False, "error_code": 400, "description": "upgraded", "parameters": {"migrate_to_chat_id": -200}}
    site.answer = lambda got: Reply(400, moved) if got.json["chat_id"] == -100 else sent(got)
    put(daemon, "rich", kind="telegram", token="bot", chat=-100, format="rich", api_base=site.url)
    deliver(daemon, "telegram-moved", {"output": "rich"})
    assert [got.json["chat_id"] for got in site.got] == [-100, -200]
    assert site.got[-1].path.endswith("/sendRichMessage") and "**All**" in site.got[-1].json["rich_message"]["markdown"]


# --- e-mail -----------------------------------------------------------------------------------------------------------


def test_letters_have_stable_ids_and_form_a_thread(daemon: Daemon, mails: tuple[Path, int]) -> None:
    file = {"host": "127.0.0.1", "port": mails[1], "security": "none", "user": "bot", "password": "mail"}
    put(daemon, "mail", kind="email", **{"from": "bot@example.org"}, **file, to=["team@example.org"])
    first = deliver(daemon, "mail", {"output": "mail"})
    deliver(daemon, "mail", {"output": "mail", "subject": "Two", "to": "ann@example.org"})
    deliver(daemon, "mail", {"output": "mail"})
    one, two, three = letters(mails[0])
    assert one["Message-ID"] == f"<{first['delivery_id']}@example.org>" and one["Subject"] == "Done"
    assert (one["To"], two["To"], two["Subject"]) == ("team@example.org", "ann@example.org", "Two")
    assert one["In-Reply-To"] == three["In-Reply-To"] and "< done >" in one.get_content()
    dead = deliver(daemon, "mail", {"output": "mail", "to": "nobody@example.org"}, state="dead_letter")
    assert "550" in dead["last_error"]


# --- files and commands -----------------------------------------------------------------------------------------------


def test_a_file_below_the_workspace_grows_by_each_output(daemon: Daemon) -> None:
    put(daemon, "notes", kind="file", to="out/notes.jsonl")
    first = deliver(daemon, "files", {"output": "notes"})
    second = deliver(daemon, "files", {"output": "notes", "path": "out/plain.txt"})
    workspace = Path(daemon.client.sessions.get("files")["workspace"])
    (row,) = [json.loads(line) for line in (workspace / "out/notes.jsonl").read_text().splitlines()]
    assert (row["delivery_id"], row["kind"]) == (first["delivery_id"], "final")
    assert "**All**" in (workspace / "out/plain.txt").read_text() and second["receipt"] == "out/plain.txt"
    (workspace / "out/elsewhere").symlink_to("/tmp")
    dead = deliver(daemon, "files", {"output": "notes", "path": "out/elsewhere/x.txt"}, state="dead_letter")
    assert not Path("/tmp/x.txt").exists() and "elsewhere" in dead["last_error"]
    with pytest.raises(Invalid, match="out/"):
        daemon.client.runs.start("files", "go", reply_targets=[{"output": "notes", "path": "AGENTS.md"}])


def test_a_command_waits_for_trust_and_its_exit_status_decides(daemon: Daemon, tmp_path: Path) -> None:
    mark = tmp_path / "got.json"
    daemon.write("outputs/script.yaml", {"kind": "command", "command": f"cat > {mark}; echo receipt-7"})
    until(lambda: daemon.http("GET", "/v1/outputs/script").status_code == 200, what="adopted")
    waiting = deliver(daemon, "script", {"output": "script"}, state="pending")
    until(lambda: any(one["code"] == "output_untrusted" for one in daemon.client.problems()["items"]))
    assert not mark.exists() and waiting["attempts"] == 0
    assert daemon.cli("trust", "outputs/script", "--yes").returncode == 0
    (delivery,) = ended(daemon, waiting["run_id"])
    assert json.loads(mark.read_text())["data"]["output_id"] == delivery["output_id"]
    assert delivery["receipt"] == "receipt-7"
    put(daemon, "refuses", kind="command", command="echo no such place >&2; exit 65")
    assert "no such place" in deliver(daemon, "refuses", {"output": "refuses"}, state="dead_letter")["last_error"]


# --- tests of outputs, announcements ----------------------------------------------------------------------------------


def test_a_test_sends_a_sample_and_reports_a_failure(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    site.answer = lambda got: Reply(200)
    put(daemon, "tried", kind="http", url=f"{site.url}/tried")
    done = daemon.cli("outputs", "test", "tried", "hello there")
    assert done.returncode == 0, done.stderr
    assert site.got[0].json["data"]["content"] == "hello there"
    site.answer = lambda got: Reply(403)
    done = daemon.cli("outputs", "test", "tried")
    assert done.returncode == 1 and "403" in done.stdout + done.stderr
    assert daemon.client.deliveries.list(output="tried")["items"] == []


def test_what_waits_and_what_failed_is_announced_with_the_way_to_answer(daemon: Daemon, site: Receiver) -> None:
    site.got.clear()
    site.answer = lambda got: Reply(200)
    put(daemon, "team", kind="http", url=f"{site.url}/team")
    for route in ("asks", "needs", "down"):
        daemon.client.sessions.create(f"announces-{route}", route=route, announce=[{"output": "team"}])
    question = daemon.client.runs.start("announces-asks", "go", wait="30s").data["pending_questions"][0]
    approval = daemon.client.runs.start("announces-needs", "go", wait="30s").data["pending_approvals"][0]
    failed = daemon.client.runs.start("announces-down", "go", wait="30s").run_id
    until(lambda: len(site.to("/team")) == 3)
    said = {got.json["data"]["kind"]: got.json["data"]["content"] for got in site.to("/team")}
    assert f"kheish questions answer {question}" in said["question"] and "left" in said["question"]
    assert f"kheish approvals allow {approval}" in said["approval"] and "touch x" in said["approval"]
    assert f"kheish runs retry {failed}" in said["failure"]


def test_the_command_line_lists_and_settles(daemon: Daemon, site: Receiver) -> None:
    site.answer = lambda got: Reply(404)
    put(daemon, "lost", kind="http", url=f"{site.url}/lost")
    run_id = start(daemon, "lost", "lost")
    (dead,) = ended(daemon, run_id, state="dead_letter")
    id = dead["delivery_id"]
    assert id in daemon.cli("deliveries", "list", "--state", "dead_letter", "--to", "lost").stdout
    assert "404" in daemon.cli("deliveries", "show", id).stdout
    dry = daemon.cli("deliveries", "replay", "--all", "--to", "lost", "--dry-run")
    assert dry.returncode == 0 and "would be sent" in dry.stdout + dry.stderr
    assert daemon.cli("deliveries", "resolve", id, "not needed").returncode == 0
    assert daemon.cli("deliveries", "replay", id).returncode == 4


# --- states -----------------------------------------------------------------------------------------------------------


def test_an_output_that_cannot_send_is_no_ready_one(daemon: Daemon, site: Receiver) -> None:
    put(daemon, "pigeon", kind="pigeon")
    put(daemon, "gone", kind="http", url=f"{site.url}/gone")
    site.answers["/gone"] = lambda got: Reply(410)
    put(daemon, "keyless", kind="slack", token="absent-slot", channel="C1")
    deliver(daemon, "gone", {"output": "gone"}, state="dead_letter")
    states = {name: daemon.http("GET", f"/v1/outputs/{name}").json() for name in ("pigeon", "gone", "keyless")}
    assert {name: one["state"] for name, one in states.items()} == {
        "pigeon": "failing", "gone": "off", "keyless": "not_ready",
    }  # fmt: skip
    assert "install the package" in states["pigeon"]["last_error"]
    listed = daemon.cli("outputs", "list").stdout
    assert "failing" in listed and "install the package" in listed
    daemon.client.sessions.create("refused")
    for name, said in (("pigeon", "install the package"), ("gone", "kheish outputs enable gone")):
        with pytest.raises(Invalid, match=said):
            daemon.client.runs.start("refused", "x", reply_targets=[{"output": name}])
