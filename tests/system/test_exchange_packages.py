"""Connectors and outputs of installed packages, with a real daemon that finds them on its path; and apprise."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, call, until
from tests.support.packages import install
from tests.support.receiver import Reply, receive
from tests.system.test_delivered_files import CSV, id_of
from tests.system.test_deliveries import ended

EXAMPLE = Path(__file__).parents[2] / "examples" / "spool"
TOKEN = "a-token-of-the-spool"
BAD = "raise SystemExit('this package is bad')\n"
RUDE = """
import sys
from kheish.runtime.connectors.base import ConnectorKind
async def send(job, way): sys.exit("rude")
async def find(job, way): return 1 / 0
async def receive(request): sys.exit("rude")
KIND = ConnectorKind(name="rude", receive=receive)
"""
ROUTES: dict[str, Any] = {
    "echo": {"driver": "scripted", "script": {"echo": True}},
    "sends": [
        {"tool_calls": [call("store_asset", path="a.csv")]},
        {"tool_calls": [call("emit_output", content="Here.", attachments=[id_of(CSV)])]},
        {"text": "done"},
    ],
}


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Path, Path]]:
    folder = tmp_path_factory.mktemp("spool")
    site, came, left = folder / "site", folder / "in", folder / "out"
    for one in (site, came, left):
        one.mkdir()
    (site / "bad_package.py").write_text(BAD)
    (site / "rude_package.py").write_text(RUDE)
    rude = {"kheish.connectors": {"rude": "rude_package:KIND"}, "kheish.outputs": {"rude": "rude_package"}}
    groups = {group: {"bad": "bad_package"} for group in ("kheish.connectors", "kheish.outputs")}
    install(site, EXAMPLE, bad=groups, rude=rude)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    config = {"default_route": "echo", "network": {"allow": ["127.0.0.1"]}}
    with Daemon.fresh(folder, env={"PYTHONPATH": path}, routes=ROUTES, config=config) as daemon:
        daemon.client.secrets.put("spool.token", TOKEN)
        daemon.client.definitions("outputs").put("out", {"kind": "spool", "options": {"folder": str(left)}})
        connector = {
            "kind": "spool", "token": "spool.token", "options": {"folder": str(came)}, "session": {"key": "{sender}"},
            "target": {"input": {}}, "reply_targets": [{"output": "out"}],
        }  # fmt: skip
        answer = daemon.http("PUT", "/v1/connectors/post", connector)
        assert answer.status_code == 201, answer.text
        yield daemon, came, left


def test_a_package_takes_work_in_and_its_output_carries_the_answer(spool: tuple[Daemon, Path, Path]) -> None:
    daemon, came, left = spool
    (came / "001.json").write_text(json.dumps({"from": "ann", "text": "the first"}))
    (came / "000.json").write_text("[]")
    until(lambda: [path.read_text() for path in left.glob("*.txt")] == ["the first"], what="the answer")
    until(lambda: (came / "done" / "001.json").exists() and (came / "bad" / "000.json").exists())
    (came / "done" / "001.json").rename(came / "001.json")
    until((came / "done" / "001.json").exists, what="taken up once more")
    assert len(daemon.client.connectors.receipts("post")["items"]) == 1, "its name is the key"


def test_a_request_of_a_package_is_verified_first(spool: tuple[Daemon, Path, Path]) -> None:
    daemon, _, left = spool

    def post(body: bytes, token: str = TOKEN, id: str = "m1") -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "x-message-id": id}
        return httpx.post(f"{daemon.url}/v1/ingress/post", content=body, headers=headers, trust_env=False, timeout=30)

    assert post(b"not json", "wrong").json()["code"] == "signature_invalid"
    assert post(b"not json").status_code == 400 and post(b"").status_code == 200
    first, again = post(b'{"from": "bob", "text": "by http"}'), post(b'{"from": "bob", "text": "by http"}')
    assert first.status_code == 202 and again.json() == {**first.json(), "duplicate": True}
    until(lambda: "by http" in [path.read_text() for path in left.glob("*.txt")])


def test_a_package_gets_files_and_is_asked_after_a_kill(spool: tuple[Daemon, Path, Path], tmp_path: Path) -> None:
    daemon, _, left = spool
    (tmp_path / "a.csv").write_bytes(CSV)
    daemon.client.sessions.create("files", route="sends", workspace=str(tmp_path))
    run = daemon.client.runs.start("files", "go", reply_targets=[{"output": "out"}], wait="30s")
    delivered = {one["output_id"]: one for one in ended(daemon, run.run_id, 2)}
    emitted = delivered[run.data["outputs"][0]["output_id"]]
    assert (left / f"{emitted['delivery_id']}.files" / "a.csv").read_bytes() == CSV


def test_a_bad_package_is_a_problem_and_no_more(spool: tuple[Daemon, Path, Path]) -> None:
    daemon, _, _ = spool
    problem = next(one for one in daemon.client.problems()["items"] if one["code"] == "connector_package")
    assert "SystemExit: this package is bad" in problem["message"]
    daemon.client.definitions("outputs").put("broken", {"kind": "bad"})
    shown = until(lambda: daemon.http("GET", "/v1/outputs/broken").json())
    assert shown["state"] == "failing" and "this package is bad" in shown["last_error"]


def test_a_package_that_exits_ends_its_attempt_and_not_the_daemon(spool: tuple[Daemon, Path, Path]) -> None:
    daemon, _, _ = spool
    daemon.client.definitions("outputs").put("rude", {"kind": "rude", "retry": {"max": "1s"}})
    daemon.client.sessions.create("rude")
    run = daemon.client.runs.start("rude", "go", reply_targets=[{"output": "rude"}], wait="30s")

    def tried() -> Any:
        (one,) = daemon.client.deliveries.list(run_id=run.run_id)["items"]
        return one if one["attempts"] >= 3 else None

    found = until(tried, what="attempts continue after an exit, and after a look-up that fails")
    assert found["unknown_end"] and "ZeroDivisionError" in found["last_error"]
    daemon.client.definitions("connectors").put("ruder", {"kind": "rude", "target": {"input": {}}})
    answer = httpx.post(f"{daemon.url}/v1/ingress/ruder", content=b"x", trust_env=False, timeout=30)
    assert answer.status_code == 503 and "SystemExit" in answer.text


def test_apprise_sends_a_notice_by_its_own_code(spool: tuple[Daemon, Path, Path]) -> None:
    pytest.importorskip("apprise", reason="pip install 'kheish[apprise]'")
    daemon, _, _ = spool
    with receive(lambda got: Reply(200)) as site:
        daemon.client.secrets.put("notices.url", f"{site.url.replace('http', 'json')}/notify?secret=in-the-url-42")
        daemon.client.definitions("outputs").put("notices", {"kind": "apprise", "url": "notices.url"})
        daemon.client.sessions.create("notices")
        targets = [{"output": "notices"}]
        run = daemon.client.runs.start("notices", "# All **done**\n\nYes.", reply_targets=targets, wait="30s")
        ended(daemon, run.run_id)
        (got,) = site.got
        assert got.json["title"] == "All done" and "Yes." in got.json["message"]
        site.answer = lambda got: Reply(500)
        run = daemon.client.runs.start("notices", "again", reply_targets=targets, wait="30s")
        (waits,) = ended(daemon, run.run_id, state="retrying")
        assert "not sent" in waits["last_error"] and "in-the-url-42" not in json.dumps(waits)
