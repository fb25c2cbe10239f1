"""Files of an output on their way to each kind of target, by stand-ins on loopback."""

from __future__ import annotations

import email
import email.policy
import hashlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kheish.errors import AssetReferenced
from tests.support.daemon import Daemon, call, until
from tests.support.mails import PASSWORD, letters, mail_server
from tests.support.receiver import Got, Receiver, Reply, receive
from tests.system.test_deliveries import ended
from tests.system.test_delivery_kinds import put, sent

TOKEN = "123456:a-token-for-a-bot"
ODD = 'réport "; x=1.csv'
CSV = "a,b\n1,ü\n".encode()


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    return out.getvalue()


def id_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


FILES = {"chart.png": picture(), ODD: CSV}
STORE = [call("store_asset", path=name) for name in FILES]
EMIT = call("emit_output", content="Here it is.", kind="report", attachments=[id_of(one) for one in FILES.values()])
ROUTES: dict[str, Any] = {
    "sends": [{"tool_calls": STORE}, {"tool_calls": [EMIT]}, {"text": "{{last_result}}"}],
    "guesses": [{"tool_calls": [EMIT]}, {"text": "{{last_result}}"}],
}  # fmt: skip


class Workspace:
    """A workspace of Slack: messages, and files that are in a channel once their upload was completed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.messages: list[str] = []
        self.opened: list[dict[str, str]] = []
        self.uploaded: dict[str, bytes] = {}
        self.shared: list[dict[str, Any]] = []
        self.lose: set[str] = set()  # methods whose next answer is lost
        self.looked_up: list[str] = []

    def __call__(self, got: Got) -> Reply:
        if got.path.startswith("/upload/"):
            self.uploaded[got.path.rpartition("/")[2]] = got.body
            return Reply(body=b"OK")
        method, form = got.path.rpartition("/")[2], got.form
        reply = {
            "chat.postMessage": self.post, "files.getUploadURLExternal": self.open, "files.info": self.info,
            "files.completeUploadExternal": self.share, "conversations.history": lambda form: {"messages": []},
        }[method](form)  # fmt: skip
        if method in self.lose:
            self.lose.discard(method)
            return Reply(drop=True)
        return Reply(body={"ok": True, **reply})

    def post(self, form: dict[str, str]) -> dict[str, Any]:
        self.messages.append(form["markdown_text"])
        return {"ts": f"{time.time():.6f}"}

    def open(self, form: dict[str, str]) -> dict[str, Any]:
        self.opened.append(form)
        id = f"F{len(self.opened)}"
        return {"upload_url": f"{self.url}/upload/{id}", "file_id": id}

    def share(self, form: dict[str, str]) -> dict[str, Any]:
        self.shared.append({**form, "files": json.loads(form["files"])})
        return {}

    def info(self, form: dict[str, str]) -> dict[str, Any]:
        self.looked_up.append(form["file"])
        there = any(form["file"] == one["files"][0]["id"] for one in self.shared)
        return {"file": {"id": form["file"], "channels": ["C1"] if there else []}}


@pytest.fixture(scope="module")
def site() -> Iterator[Receiver]:
    with receive() as site:
        yield site


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = {"default_route": "sends", "network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(tmp_path_factory.mktemp("files"), routes=ROUTES, config=config) as daemon:
        daemon.client.secrets.put("bot", TOKEN)
        daemon.client.secrets.put("mail", PASSWORD)
        yield daemon


def deliver(daemon: Daemon, session: str, target: dict[str, Any], workspace: Path) -> dict[str, Any]:
    """Return the delivery of the output with files."""
    for name, content in FILES.items():
        (workspace / name).write_bytes(content)
    daemon.client.sessions.create(session, workspace=str(workspace))
    run = daemon.client.runs.start(session, "go", reply_targets=[target], wait="30s")
    assert run.data["output"] == "Sent.", run.data
    emitted = run.data["outputs"][0]
    return next(one for one in ended(daemon, run.run_id, 2) if one["output_id"] == emitted["output_id"])


def test_slack_gets_each_file_once_though_an_answer_is_lost(daemon: Daemon, site: Receiver, tmp_path: Path) -> None:
    slack = site.answer = Workspace(site.url)
    slack.lose = {"files.completeUploadExternal"}
    put(daemon, "slack", kind="slack", token="bot", channel="C1", api_base=f"{site.url}/api")
    delivery = deliver(daemon, "slack", {"output": "slack", "thread_ts": "17.5"}, tmp_path)
    assert (delivery["parts"], delivery["parts_done"], delivery["unknown_end"]) == (3, 3, True)
    assert slack.messages == ["Here it is.", "Sent."]
    assert [(one["filename"], one["length"]) for one in slack.opened] == [(n, str(len(c))) for n, c in FILES.items()]
    assert list(slack.uploaded.values()) == list(FILES.values())
    assert [(one["channel_id"], one["thread_ts"], one["files"][0]["title"]) for one in slack.shared] == [
        ("C1", "17.5", name) for name in FILES
    ]
    assert slack.looked_up == ["F1"], "the file was found by the id that was journaled before it was shared"


def test_telegram_gets_a_photo_and_a_document(daemon: Daemon, site: Receiver, tmp_path: Path) -> None:
    site.got.clear()
    bad = Reply(400, {"ok": False, "error_code": 400, "description": "Bad Request: PHOTO_INVALID_DIMENSIONS"})
    site.answer = lambda got: bad if got.path.endswith("sendPhoto") else sent(got)
    put(daemon, "telegram", kind="telegram", token="bot", chat=-100, topic=7, api_base=site.url)
    deliver(daemon, "telegram", {"output": "telegram"}, tmp_path)
    methods = [got.path.rpartition("/")[2] for got in site.got]
    assert methods == ["sendMessage", "sendPhoto", "sendDocument", "sendDocument", "sendMessage"]
    forms = [
        email.message_from_bytes(
            b"Content-Type: " + got.headers["content-type"].encode() + b"\r\n\r\n" + got.body, policy=email.policy.HTTP
        )
        for got in site.got[1:4]
    ]
    parts = [{part.get_param("name", header="content-disposition"): part for part in one.iter_parts()} for one in forms]  # type: ignore[attr-defined]
    assert [one["chat_id"].get_payload() for one in parts] == ["-100"] * 3
    assert [one["message_thread_id"].get_payload() for one in parts] == ["7"] * 3
    assert [set(one) - {"chat_id", "message_thread_id"} for one in parts] == [{"photo"}, {"document"}, {"document"}]
    assert FILES["chart.png"] in site.got[2].body and CSV in site.got[3].body and "réport".encode() in site.got[3].body


def test_a_letter_has_the_files(daemon: Daemon, tmp_path: Path) -> None:
    (folder := tmp_path / "mails").mkdir()
    (workspace := tmp_path / "ws").mkdir()
    with mail_server(folder) as port:
        server = {"host": "127.0.0.1", "port": port, "security": "none", "user": "u", "password": "mail"}
        put(daemon, "mail", kind="email", **server, **{"from": "bot@example.org"}, to=["ann@example.org"])
        deliver(daemon, "mail", {"output": "mail"}, workspace)
    letter = next(one for one in letters(folder) if list(one.iter_attachments()))
    found = {part.get_filename(): (part.get_content_type(), part.get_payload(decode=True))
             for part in letter.iter_attachments()}  # fmt: skip
    assert found == {"chart.png": ("image/png", FILES["chart.png"]), ODD: ("text/csv", CSV)}
    assert letter.get_body(("plain",)).get_content().strip() == "Here it is."  # type: ignore[union-attr]


def test_http_names_the_files_which_stay_while_the_session_has_them(
    daemon: Daemon, site: Receiver, tmp_path: Path
) -> None:
    site.got.clear()
    site.answer = lambda got: Reply(200)
    put(daemon, "hook", kind="http", url=f"{site.url}/hook")
    deliver(daemon, "hook", {"output": "hook"}, tmp_path)
    data = next(got.json["data"] for got in site.got if got.json["data"]["kind"] == "report")
    assert [(one["name"], one["asset_id"], one["bytes"]) for one in data["artifacts"]] == [
        (name, id_of(content), len(content)) for name, content in FILES.items()
    ]
    assert [one["type"] for one in data["parts"]] == ["text", "asset", "asset"]
    with pytest.raises(AssetReferenced):
        daemon.client.assets.delete(id_of(CSV))
    used = until(lambda: daemon.client.assets.references(id_of(CSV))["items"])
    assert "output" in {one["kind"] for one in used}


def test_an_agent_sends_only_files_that_it_may_see(daemon: Daemon) -> None:
    daemon.client.sessions.create("guesses", route="guesses")
    run = daemon.client.runs.start("guesses", "go", wait="30s")
    assert "There is no asset" in run.data["output"] and run.data["outputs"] == []
