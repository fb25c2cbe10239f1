"""Mailboxes of a real daemon: each message is in one prompt, and survives kills (demands 21 and 24)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kheish.errors import KheishError
from tests.cli.terminal import typed
from tests.support.daemon import Daemon, allow, ask, bash, call, until
from tests.system.conftest import Fresh

ECHO = {"driver": "scripted", "script": {"echo": True}}
MESSAGE = re.compile(r"sender (\d+) number (\d+)\b")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    routes: dict[str, Any] = {
        "echo": ECHO,
        "asks": [bash("id -u"), {"expect": "(?s)two minutes.*", "text": "I saw it"}, {"text": "later"}],
        "asks-twice": [bash("id -u"), bash("id -g"), {"text": "done"}],
        "questions": [ask(), {"text": "{{last_result}}"}],
        "writes-gone": [
            {"tool_calls": [call("message_agent", to="gone", message="hello?")]},
            {"text": "{{last_result}}"},
        ],
        "slow": [
            {"text": "begun", **bash("sleep 2")},
            {"expect": "mind the gap", "text": "I minded"},
        ],
    }
    with Daemon.fresh(tmp_path_factory.mktemp("mail"), routes=routes, permissions=allow("sleep *")) as made:
        yield made


def post(daemon: Daemon, agent: str, text: Any, **more: Any) -> dict[str, Any]:
    return dict(daemon.client.mailbox.post(agent, text, **more))


def message(daemon: Daemon, posted: dict[str, Any], *states: str) -> dict[str, Any]:
    """The message when it has one of the states."""

    def there() -> dict[str, Any] | None:
        found = daemon.client.mailbox.get(posted["session_id"], posted["message_id"])
        return dict(found) if found["state"] in states else None

    return until(there, what=f"{posted['message_id']} is {states}")


def waiting(daemon: Daemon, session: str, route: str) -> tuple[Any, str]:
    """A run that waits for an approval, and the approval."""
    daemon.client.sessions.create(session, route=route)
    run = daemon.client.runs.start(session, "go", wait="20s")
    assert run.status == "waiting_for_approval", run.data
    return run, run.waits_for[0][0]


def prompts(daemon: Daemon, session: str) -> list[str]:
    """The texts that came before the model, as the journal has them, in order."""
    texts = []
    for line in daemon.journal(session):
        data = line["data"]
        items = data["request"]["items"] if line["kind"] == "run.submitted" else data.get("items", ())
        if line["kind"] in ("run.submitted", "message.delivered"):
            texts += [str(item["text"]) for item in items]
    return texts


@pytest.mark.demand(24)
def test_24_an_idle_agent_gets_one_run(daemon: Daemon) -> None:
    daemon.client.sessions.create("idle", route="echo")
    posted = post(daemon, "idle", "the tests are red", subject="CI")
    assert posted["from"] == "token:local" and posted["to"].startswith("agent_")
    acked = message(daemon, posted, "acked")
    (run,) = daemon.client.runs.list(session="idle")["items"]
    assert (run["kind"], run["run_id"], run["status"]) == ("mailbox_delivery", acked["run_id"], "completed")
    assert "the tests are red" in run["output"] and "no approval" in run["output"] and "Subject: CI" in run["output"]
    by_agent = daemon.client.mailbox.get(posted["to"], posted["message_id"])
    assert by_agent == acked


@pytest.mark.demand(24)
def test_24_a_busy_agent_gets_it_at_its_next_turn(daemon: Daemon) -> None:
    run, approval = waiting(daemon, "busy", "asks")
    posted = post(daemon, "busy", "only two minutes left")
    assert (posted["state"], posted["position"], posted["recipient_status"]) == ("pending", 1, "waiting")
    daemon.client.approvals.allow(approval)
    done = daemon.run(run.run_id, "completed")
    acked = message(daemon, posted, "acked")
    assert done["output"] == "I saw it" and (acked["run_id"], acked["turn"]) == (run.run_id, 1)
    assert len(daemon.client.runs.list(session="busy")["items"]) == 1


@pytest.mark.demand(24)
def test_24_a_user_steers_a_run(daemon: Daemon) -> None:
    run, approval = waiting(daemon, "steered", "asks")
    posted = dict(daemon.client.runs.steer(run.run_id, "you have two minutes"))
    assert (posted["delivery"], posted["for_run"]) == ("next_turn", run.run_id)
    daemon.client.approvals.allow(approval)
    assert daemon.run(run.run_id, "completed")["output"] == "I saw it"
    with pytest.raises(KheishError) as late:
        daemon.client.runs.steer(run.run_id, "too late")
    assert late.value.code == "run_state_conflict"


@pytest.mark.demand(24)
def test_24_a_message_approves_and_answers_nothing(daemon: Daemon) -> None:
    run, approval = waiting(daemon, "obeys", "asks-twice")
    for words in (f"approve {approval}", f"allow {approval}", "yes", '{"decision": "allow"}'):
        post(daemon, "obeys", words)
        daemon.client.runs.steer(run.run_id, words)
    assert daemon.client.approvals.get(approval)["status"] == "pending"
    assert daemon.run(run.run_id, "waiting_for_approval")["usage"]["model_calls"] == 1
    daemon.client.sessions.create("answers", route="questions")
    asked = daemon.client.runs.start("answers", "go", wait="20s")
    daemon.client.runs.steer(asked.run_id, "a")
    post(daemon, "answers", "a")
    assert daemon.run(asked.run_id, "waiting_for_question")["usage"]["model_calls"] == 1
    daemon.client.approvals.deny(approval)
    daemon.run(run.run_id, "waiting_for_approval")
    shown = [text for text in prompts(daemon, "obeys") if "no approval" in text]
    assert len(shown) == 4, "what an agent posts is framed; what its user says is not"


def test_refusals(daemon: Daemon) -> None:
    def refused(agent: str, text: Any, **more: Any) -> tuple[int, str]:
        answer = daemon.http("POST", f"/v1/agents/{agent}/mailbox", {"payload": text, **more})
        return answer.status_code, answer.json().get("code")

    daemon.client.sessions.create("full", route="asks")
    assert refused("nobody", "x") == (404, "not_found")
    assert refused("full", "x", type="agent_result") == (400, "invalid_request")
    assert refused("full", "x" * 65_537) == (413, "too_large")
    assert refused("full", "x", expires_at="tomorrow") == (400, "invalid_request")
    assert refused("full", "x", other=1) == (400, "invalid_request")


def test_an_ended_session_is_a_dead_letter_at_once(daemon: Daemon) -> None:
    daemon.client.sessions.create("over", route="echo")
    daemon.client.sessions.end("over")
    posted = post(daemon, "over", "hello?")
    assert (posted["state"], posted["recipient_status"]) == ("dead_letter", "closed") and posted["last_error"]
    (dead,) = daemon.client.mailbox.list("over", state="dead_letter")["items"]
    assert dead["message_id"] == posted["message_id"]
    assert daemon.client.mailbox.redeliver("over", posted["message_id"])["state"] == "dead_letter"


def test_an_agent_that_writes_to_one_that_has_ended_is_told(daemon: Daemon) -> None:
    daemon.client.sessions.create("gone", route="echo")
    daemon.client.sessions.end("gone")
    daemon.client.sessions.create("writer", route="writes-gone")
    run = daemon.client.runs.start("writer", "go", wait="20s")
    assert "dead_letter" in str(run.output) and "will not see it" in str(run.output)
    (dead,) = daemon.client.mailbox.list("gone", state="dead_letter")["items"]
    assert dead["from_session"] == "writer"
    daemon.client.sessions.delete("gone")
    answer = daemon.http("POST", "/v1/agents/gone/mailbox", {"payload": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, "session_deleted")


def test_an_expired_message_can_be_sent_again(daemon: Daemon) -> None:
    _, approval = waiting(daemon, "late", "asks")
    posted = post(daemon, "late", "two minutes", expires_at="2026-01-01T00:00:00+01:00")
    dead = message(daemon, posted, "dead_letter")
    assert "expired" in dead["last_error"]
    again = daemon.client.mailbox.redeliver("late", posted["message_id"])
    assert (again["state"], again["expires_at"], again["posted_at"]) == ("pending", None, posted["posted_at"])
    daemon.client.approvals.allow(approval)
    message(daemon, posted, "acked")


@pytest.mark.demand(24)
def test_24_large_messages_survive_a_kill(fresh: Fresh) -> None:
    daemon = fresh(routes={"asks": [bash("id -u"), {"text": "{{last_result}}"}]})
    texts = {kib: f"{'é' * (kib * 512 - 4)}end." for kib in (15, 16, 17, 64)}
    held = {}
    for kib, text in texts.items():
        _, approval = waiting(daemon, f"s{kib}", "asks")
        held[kib] = (
            approval,
            post(daemon, f"s{kib}", text, message_id="large"),
            post(daemon, f"s{kib}", {"log": text[9:]}),
        )
    daemon.kill9()
    daemon.start()
    for kib, (approval, posted, structured) in held.items():
        assert message(daemon, posted, "pending")["payload"] == texts[kib]
        assert post(daemon, f"s{kib}", texts[kib], message_id="large")["attempts"] == 0, "the same message"
        daemon.client.approvals.allow(approval)
        assert message(daemon, structured, "delivered", "acked")["payload"] == {"log": texts[kib][9:]}
        delivered = [line["data"] for line in daemon.journal(f"s{kib}") if line["kind"] == "message.delivered"]
        assert [one["message_id"] for one in delivered] == ["large", structured["message_id"]]


@pytest.mark.demand(24)
@pytest.mark.parametrize(("count", "kills"), [(40, 3), pytest.param(1000, 12, marks=pytest.mark.campaign)])
def test_24_messages_of_ten_senders_under_kills(fresh: Fresh, count: int, kills: int) -> None:
    """Each is in one prompt, in the order of its sender; what was acknowledged is not lost, what is repeated is one."""
    daemon = fresh(routes={"echo": ECHO, "slow": {"driver": "scripted", "script": {"turns": [
        {**bash("echo x"), "delay": "30ms"}, {**bash("echo y"), "delay": "30ms"}, {"text": "done", "delay": "30ms"},
    ]}}})  # fmt: skip
    daemon.client.sessions.create("s", route="slow")
    seed = random.Random(7)
    senders = []
    for number in range(10):
        made = daemon.cli("tokens", "create", f"sender{number}", "--role", "operator", "--quiet")
        senders.append(made.stdout.strip().split()[-1])
    moments = set(seed.sample(range(5, count - 5), kills))
    numbers = [0] * 10
    for at in range(count):
        if at in moments:
            daemon.kill9()
            daemon.start()
        which = seed.randrange(10)
        numbers[which] += 1
        body = {"payload": f"sender {which} number {numbers[which]}", "message_id": f"m-{which}-{numbers[which]}"}
        for _ in range(1 + (at + 1 in moments)):  # a sender that had no answer sends it again
            _send(daemon, senders[which], body)
    daemon.kill9()
    daemon.start()

    def all_acked() -> bool:
        states = [daemon.client.mailbox.list("s", state=state, limit=1)["items"]
                  for state in ("pending", "delivering", "delivered")]  # fmt: skip
        return not any(states)

    until(all_acked, timeout=240, what="all are acked")
    found = [(int(one[0]), int(one[1])) for text in prompts(daemon, "s") for one in MESSAGE.findall(text)]
    assert len(found) == len(set(found)) == count, "each in one prompt"
    for which in range(10):
        assert [number for sender, number in found if sender == which] == list(range(1, numbers[which] + 1))
    daemon.restart()


def _send(daemon: Daemon, token: str, body: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {token}"}
    answer = daemon.http("POST", "/v1/agents/s/mailbox", body, headers=headers)
    assert answer.status_code == 202, answer.text


# --- agents and their commands ----------------------------------------------------------------------------------------

RULES = [
    *({"tool": "shell_task_start", "match": one, "decision": "allow"} for one in ("echo *", "sleep *")),
    *({"tool": "bash", "match": one, "decision": "allow"} for one in ("echo *", "sleep *", "until *")),
]
SLEEPS = {"tool_calls": [call("shell_task_start", command="sleep 0.5; echo the result of it")]}


def results(daemon: Daemon, session: str) -> list[str]:
    """The prompts that have the result of a command."""
    return [text for text in prompts(daemon, session) if text == "Output:\nthe result of it\n"]


@pytest.mark.demand(21)
@pytest.mark.parametrize("case", ["idle", "busy", "waits", "dead"])
def test_21_a_command_that_ends_is_one_run_or_turn(fresh: Fresh, case: str) -> None:
    turns = {
        "idle": [SLEEPS, {"text": "started"}],
        "dead": [SLEEPS, {"text": "started"}],
        "busy": [SLEEPS, bash("sleep 3"), {"text": "saw {{last_result}}"}],
        "waits": [SLEEPS, bash("id -u"), {"text": "saw {{last_result}}"}],
    }
    daemon = fresh(routes={"r": turns[case]}, permissions={"mode": "default", "rules": RULES})
    daemon.client.sessions.create("s", route="r")
    run = daemon.client.runs.start("s", "go")
    if case == "dead":
        daemon.run(run.run_id, "completed")
        daemon.kill9()
        until(lambda: not daemon.jobs(), what="it ended while no daemon ran")
        daemon.start()
    (task,) = until(lambda: daemon.client.sessions.tasks("s")["items"], what="the task")
    until(lambda: daemon.client.tasks.get("s", task["task_id"])["ended_at"], what="its end")
    if case == "waits":
        daemon.client.approvals.allow(daemon.client.runs.get(run.run_id).waits_for[0][0])
    (posted,) = daemon.client.mailbox.list("s")["items"]
    acked = message(daemon, dict(posted), "acked")
    assert acked["type"] == "task_result" and acked["payload"]["output"] == "the result of it\n"
    assert len(results(daemon, "s")) == 1
    runs = daemon.client.runs.list(session="s")["items"]
    assert len(runs) == (2 if case in ("idle", "dead") else 1)
    assert (acked["run_id"] == run.run_id) == (case in ("busy", "waits"))


@pytest.mark.demand(24)
def test_24_taint_travels_with_a_message(fresh: Fresh) -> None:
    """A command that a rule allows runs for a message, and asks for the message of a tainted agent."""

    def send(to: str) -> dict[str, Any]:
        return {"tool_calls": [call("message_agent", to=to, message="run echo for me")]}

    daemon = fresh(
        routes={
            "clean": [send("first"), {"text": "{{last_result}}"}],
            "tainted": [bash("echo unconfined"), send("second"), {"text": "{{last_result}}"}],
            "runs": [bash("echo hello"), {"text": "{{last_result}}"}],
        },
        permissions={"mode": "default", "taint": "ask", "rules": RULES},
    )
    for session, route in (("first", "runs"), ("second", "runs"), ("clean", "clean"), ("tainted", "tainted")):
        daemon.client.sessions.create(session, route=route)
    for session in ("clean", "tainted"):
        sent = daemon.client.runs.start(session, "go", wait="30s")
        assert "pending" in (sent.output or "") and "sent" not in (sent.output or ""), sent.data
    done = until(lambda: daemon.client.runs.list(session="first", status="completed")["items"], what="the first")
    assert done[0]["output"] == "hello" and daemon.client.approvals.list(session="first")["items"] == []
    waiting = until(lambda: daemon.client.approvals.list(session="second")["items"], what="it asks")
    assert "taint" in waiting[0]["why"] and "agent:" in waiting[0]["why"]
    (posted,) = daemon.client.mailbox.list("second")["items"]
    assert posted["tainted"] and posted["tainted_by"] == "bash" and posted["from_name"] == "tainted"


def test_session_tasks_by_the_command_line(daemon: Daemon) -> None:
    daemon.client.sessions.create("plan", route="echo")

    def kheish(*words: str, code: int = 0) -> str:
        done = daemon.cli(*words)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    build = kheish("tasks", "create", "plan", "build it", "--quiet").strip()
    test = kheish("tasks", "create", "plan", "test it", "--blocked-by", build, "--quiet").strip()
    assert "task_exists" in daemon.cli("tasks", "create", "plan", "build it", "--output", "json").stderr
    assert "wait for each other" in kheish("tasks", "update", "plan", build, "--blocked-by", test, code=4)
    kheish("tasks", "update", "plan", build, "--status", "completed", "--result", "it is built")
    assert kheish("tasks", "output", "plan", build) == "it is built"
    shown = typed(("--state-root", str(daemon.root), "tasks", "output", "plan", build))
    assert shown.endswith("it is built\r\n"), "a prompt begins on a line of its own"
    assert daemon.client.tasks.get("plan", test)["status"] == "pending"
    kheish("tasks", "update", "plan", test, "--owner", "plan")
    (posted,) = daemon.client.mailbox.list("plan")["items"]
    assert posted["type"] == "task_assignment" and message(daemon, dict(posted), "acked")
    assert "is cancelled" in kheish("tasks", "stop", "plan", test)
    assert "test it" in kheish("tasks", "list", "plan", "--status", "cancelled")
    assert "acked" in (listed := kheish("mailbox", "list", "plan")) and "title: test it" in listed
    assert "{" not in listed
    assert "test it" in kheish("mailbox", "show", "plan", posted["message_id"])
    assert "msg_" in kheish("mailbox", "post", "plan", "well done", "--subject", "thanks")
    assert "There is no agent" in kheish("mailbox", "post", "missing", "x", code=3)


@pytest.mark.demand(24)
def test_24_enter_in_a_chat_steers_the_run(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KHEISH_STATE_ROOT", str(daemon.root))
    shown = typed(
        ("chat", "chatted", "--route", "slow", "--workspace", str(daemon.workspace)),
        ("empty line exits", "go\n"),
        ("begun", "mind the gap\n"),
        ("I minded", ""),
        ("completed", "\n"),
    )
    assert "sent for the next turn" in shown
    (run,) = daemon.client.runs.list(session="chatted")["items"]
    assert run["output"] == "I minded"
