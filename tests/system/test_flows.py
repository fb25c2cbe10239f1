"""Flows on real daemons: killed in every state, cancelled, forged, many at once; and what an auditor gets."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kheish.api.http.answer import model_of
from kheish.client import AsyncKheish
from kheish.domain.flows.view import FlowView
from kheish.errors import EvidenceUnresolved, FlowStateConflict, IdempotencyConflict, Invalid
from tests.support.daemon import Daemon, ask, bash, call, git, until
from tests.support.released import release
from tests.system.conftest import Fresh

LEDGER = "echo {{input}} >> ledger.txt"
#: a Flow that is in every state at some time
ALL: dict[str, Any] = {
    "title": "Everything",
    "objective": "Each state is reached.",
    "phases": [
        {"id": "look", "instructions": "looked", "approval": "before"},
        {"id": "mend", "instructions": "mended", "needs": ["look"], "role": "mender", "approval": "after"},
        {"id": "tell", "instructions": "told", "needs": ["mend"], "evidence": [{"kind": "attestation", "id": "read"}]},
        {"id": "end", "instructions": "ended", "needs": ["tell"]},
    ],
    "roles": {"mender": {"purpose": "Mends.", "route": "mends"}},
}
ROUTES = {
    "works": [bash(LEDGER), {"text": "done {{last_result}}"}],
    "mends": [ask(), bash(f"sleep 1; {LEDGER}"), {"text": "mended"}],
}
COMMANDS = ("echo *", "sleep *", "true")


def flow_of(daemon: Daemon, flow_id: str, *statuses: str) -> dict[str, Any]:
    """The Flow, once it has one of these statuses."""

    def there() -> dict[str, Any] | None:
        found = daemon.client.flows.get(flow_id)
        return {**found} if found["status"] in statuses else None

    return until(there, what=f"{flow_id} {statuses}")


def phases(flow: dict[str, Any]) -> dict[str, str]:
    return {one["phase_id"]: one["status"] for one in flow["phases"]}


def pending(daemon: Daemon, flow_id: str) -> str:
    """The approval that the Flow waits for."""
    flow = flow_of(daemon, flow_id, "waiting")
    (found,) = [one["approval_id"] for one in flow["approvals"] if one["status"] == "pending"]
    return str(found)


def test_that_a_flow_goes_on_from_every_state_that_it_is_killed_in(fresh: Fresh) -> None:
    daemon = fresh(routes=ROUTES, config={"default_route": "works"})
    release(daemon, "all", ALL)
    daemon.client.pause()
    flow_id = daemon.client.flows.start("all", idempotency_key="once")["flow_id"]
    daemon.restart()  # pending
    assert flow_of(daemon, flow_id, "pending")
    daemon.client.resume()
    first = pending(daemon, flow_id)
    daemon.restart()  # waiting for a word before the phase
    daemon.client.approvals.allow(first)
    (question,) = until(lambda: daemon.client.questions.list(status="pending")["items"])
    assert phases(flow_of(daemon, flow_id, "waiting")) == {
        "look": "satisfied", "mend": "waiting", "tell": "pending", "end": "pending",
    }  # fmt: skip
    daemon.restart()  # waiting for an answer
    daemon.client.questions.answer(question["question_id"], {"q1": {"selected": ["a"]}})
    until(daemon.jobs)
    daemon.restart()  # running: a command is under way
    after = pending(daemon, flow_id)
    daemon.restart()  # waiting for a word after the phase
    daemon.client.approvals.allow(after)
    assert phases(flow_of(daemon, flow_id, "blocked"))["tell"] == "blocked"
    daemon.restart()  # blocked
    daemon.client.flows.attach(flow_id, "attestation", "read", description="I have read it.")
    done = flow_of(daemon, flow_id, "succeeded")
    daemon.restart()  # sealed
    assert daemon.client.flows.get(flow_id) == done
    assert daemon.client.flows.start("all", idempotency_key="once")["flow_id"] == flow_id
    assert (daemon.workspace / "ledger.txt").read_text().split() == ["looked", "mended", "told", "ended"]
    assert [one["attempts"] for one in done["phases"]] == [1, 1, 1, 1]
    kinds = daemon.kinds(done["session_id"])
    assert (kinds.count("phase.started"), kinds.count("run.submitted"), kinds.count("flow.sealed")) == (4, 4, 1)


def test_that_a_daemon_killed_right_after_a_phase_starts_the_next_once(fresh: Fresh) -> None:
    quick = {**ALL, "phases": [{"id": f"p{n}", "instructions": f"p{n}"} for n in range(8)], "roles": {}}
    daemon = fresh(routes=ROUTES, config={"default_route": "works"})
    release(daemon, "quick", quick)
    flow_id = daemon.client.flows.start("quick")["flow_id"]
    ledger = daemon.workspace / "ledger.txt"
    for lines in (2, 4, 6):
        until(lambda lines=lines: ledger.exists() and len(ledger.read_text().split()) >= lines)  # type: ignore[misc]
        daemon.restart()
    done = flow_of(daemon, flow_id, "succeeded")
    assert ledger.read_text().split() == [f"p{n}" for n in range(8)]
    assert [len(one["run_ids"]) for one in done["phases"]] == [1] * 8


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with three Playbooks that nobody kills."""
    from tests.support.daemon import allow

    routes: dict[str, Any] = {
        "works": ROUTES["works"],
        "sleeps": [bash("sleep 30"), {"text": "slept"}],
        "writes": [{"tool_calls": [call("write_file", path="report.md", content="<b>all is well</b>")]},
                   {"tool_calls": [call("attach_evidence", kind="file", id="report.md")]}, {"text": "{{last_result}}"}],
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("served")
    config = {"default_route": "works"}
    with Daemon.fresh(folder, permissions=allow(*COMMANDS), routes=routes, config=config) as daemon:
        release(daemon, "one", {"title": "One", "objective": "o", "phases": [{"id": "only", "instructions": "x"}]})
        release(daemon, "long", {"title": "Long", "objective": "o", "runtime": {"route": "sleeps"},
                                 "phases": [{"id": "sleep"}, {"id": "more", "needs": ["sleep"]}]})  # fmt: skip
        wants = [{"kind": "file", "id": "report"}]
        release(daemon, "writes", {"title": "On {{inputs.what}}", "objective": "o", "runtime": {"route": "writes"},
                                   "inputs": {"what": {"type": "string", "required": True}, "n": {"type": "integer"}},
                                   "phases": [{"id": "write", "evidence": wants}]})  # fmt: skip
        yield daemon


def test_that_all_errors_of_a_start_are_told_at_once_and_nothing_is_started(served: Daemon) -> None:
    before = served.client.flows.list()["items"]
    with pytest.raises(Invalid) as refused:
        served.client.flows.start("writes", {"wht": "x", "n": "three"})
    assert [one.path for one in refused.value.errors] == ["/inputs/wht", "/inputs/what", "/inputs/n"]
    for body, path in (({"reply_targets": [{"connector": "x"}]}, "/reply_targets/0"),
                       ({"budget": {"cost_usd": 1}}, "/budget/cost_usd"),
                       ({"flow": {"flow_id": "f"}}, "/flow")):  # fmt: skip
        answer = served.http("POST", "/v1/flows", {"playbook": "one", **body})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path), answer.text
    assert served.http("POST", "/v1/flows", {"playbook": "none"}).status_code == 404
    assert served.http("POST", "/v1/flows", {"playbook": "one@9.9.9"}).status_code == 404
    assert served.client.flows.list()["items"] == before


def test_that_a_key_starts_one_flow_and_a_run_cannot_claim_to_be_of_one(served: Daemon) -> None:
    first = served.client.flows.start("one", idempotency_key="k", wait="20s")
    assert served.client.flows.start("one", idempotency_key="k")["flow_id"] == first["flow_id"]
    with pytest.raises(IdempotencyConflict):
        served.client.flows.start("long", idempotency_key="k")
    served.client.sessions.create("forger")
    claim = {"flow_id": first["flow_id"], "phase": "only"}
    assert served.http("POST", "/v1/sessions/forger/runs", {"content": "x", "flow": claim}).status_code == 400
    forged = served.client.runs.start("forger", "x", metadata={"flow": claim}, wait="20s")
    assert forged.data["flow"] is None
    again = served.client.flows.get(first["flow_id"])
    assert again == {**first, "n": again["n"]} and forged.run_id not in str(again)
    events = [event.run for event in served.client.flows.follow(first["flow_id"])]
    assert set(events) == {None, first["runs"][0]["run_id"]}


def test_that_a_flow_is_cancelled_with_what_it_runs(served: Daemon) -> None:
    flow_id = served.client.flows.start("long")["flow_id"]
    until(served.jobs)
    served.client.flows.cancel(flow_id, "changed my mind")
    done = flow_of(served, flow_id, "cancelled")
    assert (done["reason"], phases(done)) == ("changed my mind", {"sleep": "failed", "more": "skipped"})
    assert served.client.runs.get(done["runs"][0]["run_id"]).status == "cancelled"
    until(lambda: not served.jobs())
    assert served.client.flows.cancel(flow_id)["status"] == "cancelled"
    one = served.client.flows.start("one", wait="20s")
    with pytest.raises(FlowStateConflict):
        served.client.flows.cancel(one["flow_id"])


def test_that_evidence_must_lead_somewhere(served: Daemon) -> None:
    flow = served.client.flows.start("long")
    attach, id = served.client.flows.attach, flow["flow_id"]
    run_id = until(lambda: served.client.flows.get(id)["runs"])[0]["run_id"]
    for kind, ref in (("run", "run_none"), ("file", "no.txt"), ("file", "../state/kheish.yaml"), ("commit", "HEAD~99"),
                      ("commit", "--help"), ("asset", "a"), ("approval", "a"), ("output", "o"), ("agent", "agent_x"),
                      ("tool_call", "call_9")):  # fmt: skip
        with pytest.raises(EvidenceUnresolved):
            attach(id, kind, ref)
    with pytest.raises(Invalid):
        attach(id, "attestation", "mine")  # without a word
    attach(id, "run", run_id)
    attach(id, "agent", flow["agents"][0]["agent_id"])
    attach(id, "commit", "head", ref="HEAD")
    found = attach(id, "attestation", "seen", description="I saw it.", idempotency_key="e")
    assert attach(id, "attestation", "seen", description="I saw it.", idempotency_key="e")["n"] == found["n"]
    shown = [(one["kind"], one["by"]) for one in found["evidence"]]
    assert shown == [(kind, "token:local") for kind in ("run", "agent", "commit", "attestation")]
    assert found["evidence"][2]["facts"]["repository"] == "state root"
    served.client.flows.cancel(id)


def test_that_revoking_a_version_may_take_its_flows_with_it_and_stops_new_ones(served: Daemon) -> None:
    phases = [{"id": "a", "acceptance": ["it is so", {"command": "make test"}, {"command": {"run": "make lint"}}]}]
    release(served, "doomed", {"title": "D", "objective": "o", "runtime": {"route": "sleeps"}, "phases": phases})
    served.client.sessions.create("old")
    before = served.client.flows.start("doomed@1.0.0", session_id="old")["flow_id"]
    queued = served.client.flows.start("doomed", session_id="old")["flow_id"]  # behind it, in the same session
    told = served.cli("playbooks", "release", "doomed@1.0.0", "verified").stdout
    assert "run these without asking: `make test`, `make lint`" in told
    done = served.cli("playbooks", "revoke", "doomed@1.0.0", "--cancel-flows", "--reason", "a hole in it")
    assert (done.returncode, "2 Flows of it are being cancelled." in done.stdout) == (0, True), done.stderr
    for flow_id in (before, queued):
        done = flow_of(served, flow_id, "cancelled")
        assert "doomed@1.0.0 was revoked" in done["reason"]
    assert served.http("POST", "/v1/flows", {"playbook": "doomed@1.0.0"}).status_code == 409
    assert served.http("POST", "/v1/flows", {"playbook": "doomed"}).status_code == 409


def test_that_the_report_shows_what_changed_since_the_version_before(served: Daemon) -> None:
    phases = [{"id": "only", "instructions": "x", "acceptance": ["It is so."]}]
    release(served, "grows", {"title": "Grows", "objective": "o", "phases": [{"id": "only", "instructions": "x"}]})
    release(served, "grows", {"title": "Grows", "objective": "o", "phases": phases}, version="1.1.0")
    flow = served.client.flows.start("grows", wait="20s")
    assert (flow["version"], flow["status"]) == ("1.1.0", "succeeded")
    assert set(flow) == set(model_of(FlowView).model_fields)
    model_of(FlowView).model_validate(flow)
    text = served.client.flows.report(flow["flow_id"])
    assert "Changes since 1.0.0:" in text and re.search(r"^\+.*It is so\.", text, re.MULTILINE)
    served.quiet()
    trailers = git(served.root, "log", "--format=%(trailers)", f"--grep=Kheish-Flow: {flow['flow_id']}")
    assert "Kheish-Playbook: grows@1.1.0" in trailers
    then = served.client.flows.get(flow["flow_id"], at="HEAD")
    assert then == {**flow, "n": then["n"]}


async def test_that_the_asynchronous_client_starts_and_follows(served: Daemon) -> None:
    async with AsyncKheish(state_root=served.root) as client:
        flow = await client.flows.start("one", wait="20s")
        kinds = [event.kind async for event in client.flows.follow(flow["flow_id"])]
        assert (kinds[0], kinds[-1]) == ("flow.started", "flow.sealed")
        assert (await client.flows.list(limit=1))["items"][0]["flow_id"] == flow["flow_id"]
        assert (await client.flows.report(flow["flow_id"], "html")).startswith("<!doctype html>")


class Page(html.parser.HTMLParser):
    """The tags of a page, and whatever would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        links = [(name, value) for name, value in attrs if name in ("src", "href", "action", "data", "poster")]
        self.fetched += [(name, value) for name, value in links if not str(value).startswith("#")]


def test_that_the_report_tells_all_and_fetches_and_runs_nothing(served: Daemon) -> None:
    evil = "<script>alert(1)</script> | `x` [a](http://b) ![i](http://c) </pre>"
    flow = served.client.flows.start("writes", {"what": evil}, wait="20s")
    assert (flow["status"], flow["evidence"][0]["id"]) == ("succeeded", "report")
    served.quiet()
    page = Page(served.client.flows.report(flow["flow_id"], "html"))
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags) and "svg" in page.tags
    assert page.fetched == []
    text = served.client.flows.report(flow["flow_id"])
    assert "<script" not in text and "![" not in text and "://" not in text and not re.search(r"[^\\]\]\(http", text)
    for told in (flow["digest"], "playbook/writes/1.0.0", "report.md", flow["evidence"][0]["facts"]["sha256"],
                 "sealed: succeeded", "Ada", "first published version"):  # fmt: skip
        assert told in text, told
    assert re.search(r"\[`[0-9a-f]{12}`\]\(#c-[0-9a-f]{12}\)", text)


def test_that_lists_are_filtered_and_paged(served: Daemon) -> None:
    started = [served.client.flows.start("one", wait="20s")["flow_id"] for _ in range(3)]
    page = served.client.flows.list(playbook="one", status="succeeded", limit=2)
    assert [one["flow_id"] for one in page["items"]] == started[:0:-1]
    rest = served.client.flows.list(playbook="one", status="succeeded", limit=2, cursor=page["next_cursor"])
    assert rest["items"][0]["flow_id"] == started[0]
    assert served.client.flows.list(playbook="one", status="failed")["items"] == []
    assert served.client.flows.list(session=started[0])["items"][0]["flow_id"] == started[0]
    assert served.http("GET", "/v1/flows?status=done").status_code == 400
    [row] = served.client.usage(by=["playbook"], playbook="one")["items"]
    assert row["playbook"] == "one" and row["model_calls"] >= len(started)


def test_that_the_command_line_starts_follows_and_says_how_it_ended(served: Daemon) -> None:
    done = served.cli("flows", "start", "one", "--follow")
    assert done.returncode == 0, done.stderr
    assert "── only" in done.stdout and "── only satisfied" in done.stdout and "succeeded" in done.stdout
    flow_id = served.cli("flows", "list", "--playbook", "one", "--limit", "1", "--quiet").stdout.strip()
    assert "only" in served.cli("flows", "show", flow_id).stdout
    events = served.cli("events", "--flow", flow_id).stdout
    assert "flow.sealed" in events and "model.responded" in events and "session.created" not in events
    page = served.workspace / "page.html"
    assert served.cli("flows", "report", flow_id, "--html", str(page)).returncode == 0
    assert page.read_text().startswith("<!doctype html>")
    assert served.cli("flows", "cancel", flow_id).returncode == 4
    assert served.cli("flows", "show", "flow_none").returncode == 3
    typed = served.cli("flows", "start", "writes", "-i", "what=x", "-i", "n=three")
    assert (typed.returncode, "/inputs/n" in typed.stderr) == (2, True)
    assert served.cli("flows", "start", "writes", "-i", "what=x", "-i", "n=3", "--wait", "20s").returncode == 0
