"""The blocking client against a stand-in: requests as the API wants them, streams without a gap."""

import socket
import time
from importlib.resources import files
from pathlib import Path

import pytest

from kheish.client import Kheish
from kheish.errors import ApprovalResolved, Unavailable, Unreachable
from tests.support.daemon_standin import TOKEN, Standin, frame, problem, run_view, serving


def test_a_run_is_started_as_the_api_wants_it(daemon: Standin) -> None:
    daemon.answers["POST /v1/sessions/s/runs"] = 202, run_view("queued")

    run = Kheish(state_root=daemon.root).runs.start("s", "do it", idempotency_key="k1", wait="1s", route="local")

    (asked,) = daemon.asked
    assert (run.run_id, run.status, run.done) == ("run_1", "queued", False)
    assert asked.json == {"content": "do it", "route": "local"}
    assert asked.query == {"wait": "1s"}
    assert asked.headers["idempotency-key"] == "k1"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_a_followed_run_goes_on_over_cuts_and_every_event_comes_once(daemon: Standin) -> None:
    daemon.answers["GET /v1/runs/run_1"] = 200, run_view(output="done")
    daemon.streams["/v1/runs/run_1/events"] = [
        [frame(1, "run.submitted"), frame(2, "run.started"), b"id: 3\nevent: mo"],
        [],
        [frame(2, "run.started"), frame(3, "model.requested"), frame(4, "run.completed", output="done")],
    ]
    run = Kheish(state_root=daemon.root).runs.get("run_1")

    assert [event.n for event in run.follow()] == [1, 2, 3, 4]
    assert run.output == "done"
    assert [one.query["after"] for one in daemon.of("GET /v1/runs/run_1/events")] == ["0", "2", "2"]


def test_a_daemon_that_comes_back_on_another_port_is_found_again(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.streams["/v1/events"] = [[frame(1, "a")]]
        client = Kheish(state_root=tmp_path)
        events = client.events(after=0)
        assert next(events).n == 1
    with serving(tmp_path) as second:
        second.streams["/v1/events"] = [[frame(2, "b")]]
        assert next(events).n == 2
        assert client.url == second.url
        events.close()  # type: ignore[attr-defined]


@pytest.mark.found("C2")
def test_wait_returns_at_the_end_or_when_a_user_is_needed_and_gives_up_in_time(daemon: Standin) -> None:
    client = Kheish(state_root=daemon.root)
    daemon.answers["GET /v1/runs/run_1"] = [
        (200, run_view("running")),
        (200, run_view("running")),
        problem(503, "unavailable"),
        (200, run_view(output="ok")),
    ]
    assert client.runs.get("run_1").wait().output == "ok"
    assert daemon.of("GET /v1/runs/run_1")[1].query == {"wait": "60000ms"}

    daemon.answers["GET /v1/runs/run_1"] = 200, run_view("waiting_for_approval")
    assert client.runs.get("run_1").wait().needs_user

    daemon.answers["GET /v1/runs/run_1"] = 200, run_view("running")
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="run_1 is running"):
        client.runs.get("run_1").wait(timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 10


def test_the_past_ends_where_the_present_begins(daemon: Standin) -> None:
    daemon.streams["/v1/events"] = [[frame(1, "a"), frame(2, "b"), frame(None, "model.delta"), frame(3, "c")]]

    assert [event.n for event in Kheish(state_root=daemon.root).past_events()] == [1, 2]


def test_a_refusal_is_the_error_that_it_names(daemon: Standin) -> None:
    daemon.answers["POST /v1/approvals/appr_1/resolve"] = problem(409, "approval_resolved", decided_by="token:ann")

    with pytest.raises(ApprovalResolved) as caught:
        Kheish(state_root=daemon.root).approvals.allow("appr_1")

    assert caught.value.extra["decided_by"] == "token:ann"


def test_nobody_at_the_address_is_unreachable_with_what_to_type() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Unreachable, match="kheish serve"):
            Kheish(url=url).status()
        with pytest.raises(Unreachable):
            next(iter(Kheish(url=url).events()))


def test_a_definition_goes_and_comes_byte_for_byte(daemon: Standin) -> None:
    text = "driver: scripted  # mine\n"
    daemon.headers["ETag"] = '"abc"'
    daemon.answers |= {"GET /v1/routes/a": (200, text), "PUT /v1/routes/a": (200, {"id": "a"})}
    routes = Kheish(state_root=daemon.root).definitions("routes")

    stored = routes.text("a")
    routes.put("a", text, if_match=stored.etag)

    put = daemon.of("PUT /v1/routes/a")[0]
    assert (stored.text, put.body) == (text, text)
    assert (put.headers["if-match"], put.headers["content-type"]) == ('"abc"', "application/yaml")


def test_something_else_at_the_address_says_so(daemon: Standin) -> None:
    daemon.answers["GET /v1/status"] = 200, "<html>hello</html>"

    with pytest.raises(Unreachable, match="is it a Kheish daemon"):
        Kheish(url=daemon.url).status()


NOT_READY = problem(503, "unavailable", retry_after=0.01)


def test_a_read_waits_until_the_daemon_is_ready_and_a_write_does_not(daemon: Standin) -> None:
    client = Kheish(state_root=daemon.root)
    daemon.answers["GET /v1/runs/run_1"] = [NOT_READY, NOT_READY, (200, run_view(output="ok"))]
    daemon.answers["POST /v1/runs/run_1/cancel"] = NOT_READY

    run = client.runs.get("run_1")
    with pytest.raises(Unavailable):
        run.cancel()

    assert run.output == "ok"
    assert len(daemon.of("POST /v1/runs/run_1/cancel")) == 1


def test_a_read_does_not_wait_for_what_does_not_pass_by_itself(daemon: Standin) -> None:
    daemon.answers["GET /v1/runs/run_1"] = problem(503, "unavailable")

    with pytest.raises(Unavailable):
        Kheish(state_root=daemon.root).runs.get("run_1")

    assert len(daemon.of("GET /v1/runs/run_1")) == 1


@pytest.mark.found("C3")
def test_the_package_says_that_it_is_typed() -> None:
    assert files("kheish").joinpath("py.typed").is_file()
