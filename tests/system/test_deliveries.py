"""Deliveries of a real daemon to receivers on loopback: signatures, failures, order, kills, dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from kheish.errors import DeliveryStateConflict, Invalid
from tests.support.daemon import Daemon, call, until
from tests.support.receiver import Got, Receiver, Reply, receive

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LONG = "all of the words, " * 3000
ROUTES: dict[str, Any] = {
    "long": [{"text": LONG}],
    "hello": [{"text": "hello from the agent"}],
    "emits": [{"tool_calls": [call("emit_output", content="half way", kind="progress")]}, {"text": "all of it"}],
}
CONFIG = {"default_route": "hello", "network": {"allow": ["127.0.0.1"]}}
QUICKLY = {"retry": {"max": "1s", "give_up": "60s"}}


@pytest.fixture(scope="module")
def site() -> Iterator[Receiver]:
    with receive() as site:
        yield site


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, site: Receiver) -> Iterator[Daemon]:
    with Daemon.fresh(tmp_path_factory.mktemp("deliveries"), routes=ROUTES, config=CONFIG) as daemon:
        daemon.client.secrets.put("hook.key", SECRET)
        yield daemon


def slowly(got: Got) -> Reply:
    time.sleep(0.3)
    return Reply(200)


def sink(daemon: Daemon, name: str, site: Receiver, **more: Any) -> str:
    daemon.client.definitions("outputs").put(name, {"kind": "http", "url": f"{site.url}/{name}", **QUICKLY, **more})
    return f"/{name}"


def ended(daemon: Daemon, run_id: str, count: int = 1, state: str = "delivered") -> list[dict[str, Any]]:
    """The deliveries of a run when this many have the state."""

    def there() -> list[dict[str, Any]] | None:
        found = daemon.client.deliveries.list(run_id=run_id)["items"]
        return found if len([one for one in found if one["state"] == state]) == count else None

    return until(there, what=f"{count} {state}: {daemon.client.deliveries.list(run_id=run_id)['items']}")


def start(daemon: Daemon, session: str, *names: str, **more: Any) -> str:
    """Run in a session of this name, with outputs as reply targets; return the run's id."""
    daemon.client.sessions.create(session, route=more.pop("route", "hello"))
    targets = [{"output": name} for name in names]
    return daemon.client.runs.start(session, "go", reply_targets=targets, wait="30s", **more).run_id


def test_an_answer_is_delivered_signed_and_says_what_it_is(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "signed", site, secret="hook.key", headers={"X-Team": "a"})
    run_id = start(daemon, "signed", "signed")
    (delivery,) = ended(daemon, run_id)
    (got,) = site.to(path)
    Webhook(SECRET).verify(got.body, dict(got.headers))
    assert got.headers["webhook-id"] == delivery["delivery_id"] and got.headers["x-team"] == "a"
    assert got.json["type"] == "output"
    data = got.json["data"]
    assert data["content"] == "hello from the agent" and data["run_id"] == run_id
    assert data["output_id"] == delivery["output_id"] and data["kind"] == "final"
    assert delivery["attempts"] == 1 and not delivery["unknown_end"]


def test_the_credential_scope_of_a_session_holds_for_its_deliveries(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "scoped", site, secret="hook.key")
    daemon.client.sessions.create("scoped", route="hello", credential_scope={"deny": ["scoped"]})
    run_id = start(daemon, "scoped", "scoped")
    (delivery,) = ended(daemon, run_id, state="retrying")
    assert "may not be used here" in delivery["last_error"] and not site.to(path)
    daemon.http("PATCH", "/v1/sessions/scoped", {"credential_scope": {"deny": []}})
    ended(daemon, run_id)
    assert len(site.to(path)) == 1


def test_outputs_in_the_middle_of_a_run_and_of_a_session_go_to_each_target(daemon: Daemon, site: Receiver) -> None:
    paths = [sink(daemon, name, site) for name in ("one", "two")]
    daemon.client.sessions.create("both", route="emits", reply_targets=[{"output": "one"}, {"output": "two"}])
    run_id = daemon.client.runs.start("both", "go", wait="30s").run_id
    ended(daemon, run_id, 4)
    for path in paths:
        kinds = {got.json["data"]["kind"]: got.json["data"]["content"] for got in site.to(path)}
        assert kinds == {"progress": "half way", "final": "all of it"}


def test_without_a_target_nothing_is_sent(daemon: Daemon) -> None:
    run_id = start(daemon, "untargeted", route="emits")
    assert daemon.client.deliveries.list(run_id=run_id)["items"] == []
    assert [one["kind"] for one in daemon.run(run_id)["outputs"]] == ["progress"]


@pytest.mark.parametrize(
    ("targets", "path", "word"),
    [
        ([{}], "/reply_targets/0", "names no output"),
        ([{"output": "nowhere"}], "/reply_targets/0", "nowhere"),
        ([{"output": "one", "channel": "C"}], "/reply_targets/0/channel", "kind http"),
        ([{"output": "one", "url": "https://elsewhere.example/x"}], "/reply_targets/0/url", "the site of this output"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_at_submission(
    daemon: Daemon, site: Receiver, targets: list[Any], path: str, word: str
) -> None:
    sink(daemon, "one", site)
    daemon.client.sessions.create("refused")
    with pytest.raises(Invalid) as raised:
        daemon.client.runs.start("refused", "go", reply_targets=targets)
    assert raised.value.errors[0].path == path and word in raised.value.errors[0].message


def test_failures_that_pass_are_retried_with_the_same_id_and_body(daemon: Daemon, site: Receiver) -> None:
    path, replies = sink(daemon, "flaky", site), [Reply(503), Reply(429, headers={"Retry-After": "1"}), Reply(204)]
    site.answers[path] = lambda got: replies.pop(0)
    (delivery,) = ended(daemon, start(daemon, "flaky", "flaky"))
    got = site.to(path)
    assert delivery["attempts"] == 3 and len(got) == 3
    assert len({(one.headers["webhook-id"], one.body) for one in got}) == 1


def test_a_lost_answer_is_an_unknown_end_also_after_delivery(daemon: Daemon, site: Receiver) -> None:
    path, replies = sink(daemon, "lossy", site), [Reply(drop=True), Reply(200)]
    site.answers[path] = lambda got: replies.pop(0)
    (delivery,) = ended(daemon, start(daemon, "lossy", "lossy"))
    assert delivery["attempts"] == 2 and delivery["unknown_end"] and len(site.to(path)) == 2


def test_an_unknown_end_is_held_where_the_file_says_so(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "careful", site, on_unknown="hold")
    site.answers[path] = lambda got: Reply(drop=True)
    run_id = start(daemon, "careful", "careful")
    (held,) = ended(daemon, run_id, state="held")
    assert len(site.to(path)) == 1 and held["unknown_end"]
    site.answers[path] = lambda got: Reply(200)
    daemon.client.deliveries.replay(held["delivery_id"])
    (delivery,) = ended(daemon, run_id)
    assert len(site.to(path)) == 2 and delivery["attempts"] == 2


def test_a_refusal_is_a_dead_letter_that_can_be_replayed_and_resolved(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "picky", site)
    site.answers[path] = lambda got: Reply(422, b"no such ticket", {"Content-Type": "text/plain"})
    first, second = start(daemon, "picky", "picky"), start(daemon, "picky", "picky")
    (dead,) = ended(daemon, first, state="dead_letter")
    ended(daemon, second, state="dead_letter")
    assert "422: no such ticket" in dead["last_error"] and len(site.to(path)) == 2

    dry = daemon.client.deliveries.replay_all(output="picky", dry_run=True)
    assert dry["dry_run"] and dry["replayed"] == 2 and len(site.to(path)) == 2
    with pytest.raises(Invalid):
        daemon.client.deliveries.resolve(dead["delivery_id"], " ")
    resolved = daemon.client.deliveries.resolve(dead["delivery_id"], "the ticket was closed")
    assert (resolved["state"], resolved["last_error"]) == ("resolved", "the ticket was closed")
    with pytest.raises(DeliveryStateConflict):
        daemon.client.deliveries.replay(dead["delivery_id"])
    site.answers[path] = lambda got: Reply(200, {"status": "terminal", "reason": "archived"})
    assert daemon.client.deliveries.replay_all(output="picky")["replayed"] == 1
    again = until(lambda: next(iter(one for one in ended(daemon, second, state="dead_letter") if one["attempts"] == 2)))
    assert "archived" in again["last_error"]


def test_a_receiver_that_is_gone_is_switched_off_until_a_user_says_otherwise(daemon: Daemon, site: Receiver) -> None:
    path, both = sink(daemon, "gone", site, order="strict"), threading.Event()

    def refuse(got: Got) -> Reply:
        both.wait(30)
        return Reply(410)

    site.answers[path] = refuse
    first, second = start(daemon, "gone", "gone"), start(daemon, "gone", "gone")
    both.set()
    ended(daemon, first, state="dead_letter")
    (dead,) = ended(daemon, second, state="dead_letter")
    assert len(site.to(path)) == 1 and "kheish outputs enable gone" in dead["last_error"]
    assert "410" in daemon.client.outputs.get("gone")["off_because"]
    with pytest.raises(Invalid, match="kheish outputs enable gone"):
        start(daemon, "gone", "gone")
    with pytest.raises(DeliveryStateConflict, match="enable"):
        daemon.client.deliveries.replay(dead["delivery_id"])
    site.answers.pop(path)
    assert daemon.client.outputs.enable("gone")["off_because"] is None
    daemon.client.deliveries.replay(dead["delivery_id"])
    ended(daemon, second)


def test_a_private_address_that_is_not_allowed_is_never_reached(daemon: Daemon) -> None:
    daemon.client.definitions("outputs").put("inside", {"kind": "http", "url": "http://127.0.0.2:9/x"})
    with pytest.raises(Invalid, match=r"network\.allow"):
        start(daemon, "inside", "inside")
    daemon.client.definitions("outputs").put("any", {"kind": "http"})
    for url in (
        "http://169.254.169.254/",
        "http://2130706434/x",
        "http://a.example/\r\nX: y",
        "ftp://a.example/",
        "http://a:99999/",
    ):
        with pytest.raises(Invalid):
            daemon.client.runs.start("inside", "go", reply_targets=[{"output": "any", "url": url}])


def test_one_poison_message_does_not_block_the_others(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "mixed", site, retry={"max": "10m", "give_up": "24h"})
    poison = start(daemon, "poison", "mixed")
    site.answers[path] = lambda got: Reply(500 if got.json["data"]["run_id"] == poison else 200)
    others = [start(daemon, f"fine-{number}", "mixed") for number in range(3)]
    for run_id in others:
        ended(daemon, run_id)


def test_a_large_output_is_delivered_whole(daemon: Daemon, site: Receiver) -> None:
    path = sink(daemon, "large", site)
    ended(daemon, start(daemon, "large", "large", route="long"))
    assert site.to(path)[0].json["data"]["content"] == LONG


@pytest.mark.demand(8)
def test_deliveries_survive_kills_in_the_order_of_their_target(daemon: Daemon, site: Receiver) -> None:
    """Several kills while a slow receiver has deliveries: none is lost, the order is kept, and an attempt that was cut
    off is marked."""
    path = sink(daemon, "ordered", site, order="strict")
    site.answers[path] = slowly
    daemon.client.sessions.create("ordered", route="hello", reply_targets=[{"output": "ordered"}])
    runs = [daemon.client.runs.start("ordered", f"go {number}", wait="30s").run_id for number in range(6)]
    for _ in range(3):
        seen = len(site.to(path))
        until(lambda seen=seen: len(site.to(path)) > seen)  # type: ignore[misc]
        daemon.kill9()
        daemon.start()
    deliveries = [ended(daemon, run_id)[0] for run_id in runs]
    arrived = [got.json["data"]["run_id"] for got in site.to(path)]
    assert list(dict.fromkeys(arrived)) == runs
    twice = {run_id for run_id in runs if arrived.count(run_id) > 1}
    assert twice == {one["run_id"] for one in deliveries if one["unknown_end"] and one["attempts"] > 1} & twice
    assert all(one["unknown_end"] for one in deliveries if one["run_id"] in twice)
    assert daemon.cli("audit", "verify").returncode == 0
