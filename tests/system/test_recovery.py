"""What a restart does, row by row (the table of recovery), with real kills."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import KheishError
from kheish.jobs import folder
from tests.support.daemon import Daemon, allow, ask, bash, call, git, until
from tests.support.faults import Fault, Faults
from tests.system.conftest import Fresh

WORK = [
    {"tool_calls": [call("write_file", path="{{input}}.txt", content="1"), call("todo_write", items=[])]},
    {"tool_calls": [call("read_file", path="{{input}}.txt"), call("list_files", path=".")]},
    {"text": "done"},
]


def entries(daemon: Daemon, session: str, kind: str) -> list[dict[str, Any]]:
    return [line for line in daemon.journal(session) if line["kind"] == kind]


def submit(daemon: Daemon, session: str, route: str, content: str = "go") -> str:
    daemon.client.sessions.create(session, route=route)
    return daemon.client.runs.start(session, content).run_id


def seen(daemon: Daemon, session: str, kind: str) -> dict[str, Any]:
    """The first entry of this kind, as soon as it is there."""
    return until(lambda: next(iter(entries(daemon, session, kind)), None), what=f"{kind} in {session}")


@pytest.mark.demand(2)
def test_queued_and_waiting_runs_stay_where_they_were(fresh: Fresh) -> None:
    daemon = fresh(routes={"asks": [bash("id -u"), {"text": "ok"}], "question": [ask(), {"text": "ok"}]})
    waiting = submit(daemon, "s", "asks")
    before = daemon.run(waiting, "waiting_for_approval")
    queued = [daemon.client.runs.start("s", str(number)).run_id for number in range(3)]
    question = submit(daemon, "q", "question")
    asked = daemon.run(question, "waiting_for_question")

    daemon.restart()

    assert daemon.client.runs.get(waiting).data == before
    assert daemon.client.runs.get(question).data == asked
    assert [daemon.client.runs.get(run).data["queue_position"] for run in queued] == [1, 2, 3]
    until(lambda: len(list(daemon.root.glob("pending/*/*.yaml"))) == 2, what="both pending files")
    daemon.client.approvals.allow(before["pending_approvals"][0])
    daemon.client.questions.decline(asked["pending_questions"][0])
    assert daemon.run(waiting)["status"] == daemon.run(question)["status"] == "completed"
    assert len([one for one in entries(daemon, "s", "model.requested") if one["run"] == waiting]) == 2


def test_a_model_call_without_answer_is_asked_again(fresh: Fresh) -> None:
    daemon = fresh(routes={"slow": [{"text": "slowly", "delay": "1s"}]})
    run = submit(daemon, "s", "slow")
    seen(daemon, "s", "model.requested")

    daemon.restart()

    assert daemon.run(run)["output"] == "slowly"
    assert [one["data"]["attempt"] for one in entries(daemon, "s", "model.requested")] == [1, 2]
    assert [one["data"]["reason"] for one in entries(daemon, "s", "run.resumed")] == ["restart"]
    assert len(entries(daemon, "s", "run.started")) == 1


def test_an_answer_whose_calls_have_not_started_is_not_asked_for_again(fresh: Fresh) -> None:
    turns = [{**bash("echo {{input}} >> ledger.txt"), "delay": "300ms"}, {"text": "done"}]
    daemon = fresh(routes={"shell": turns})
    run = submit(daemon, "s", "shell", "once")
    seen(daemon, "s", "model.requested")
    daemon.client.pause()  # the step in flight finishes, and no new one starts
    seen(daemon, "s", "model.responded")

    daemon.restart()
    assert daemon.client.status()["status"] == "paused"
    assert entries(daemon, "s", "tool.started") == []
    daemon.client.resume()

    assert daemon.run(run)["status"] == "completed"
    assert [one["data"]["turn"] for one in entries(daemon, "s", "model.requested")] == [0, 1]
    assert (daemon.workspace / "ledger.txt").read_text() == "once\n"


@pytest.mark.demand(1)
@pytest.mark.parametrize("ends", ["before the restart", "after the restart"])
def test_a_running_job_is_found_again_with_its_exit_status(fresh: Fresh, ends: str) -> None:
    turns = [bash("echo began; sleep 2; echo {{input}} >> ledger.txt; exit 3"), {"text": "{{last_result}}"}]
    daemon = fresh(routes={"job": turns})
    run = submit(daemon, "s", "job", "once")
    seen(daemon, "s", "tool.started")
    until(daemon.jobs, what="the job runs")

    daemon.kill9()
    if ends == "before the restart":
        until(lambda: not daemon.jobs(), what="the job has ended")
    daemon.start()

    assert daemon.run(run)["output"] == "began\n[exit status 3]"
    assert len(entries(daemon, "s", "tool.started")) == len(entries(daemon, "s", "tool.finished")) == 1
    assert entries(daemon, "s", "tool.finished")[0]["data"]["detail"]["exit_status"] == 3
    assert (daemon.workspace / "ledger.txt").read_text() == "once\n"
    until(lambda: not list((daemon.root / ".git" / "kheish" / "jobs").glob("job_*")), what="no folder is left")


@pytest.mark.demand(1)
@pytest.mark.parametrize("choice", ["done", "run_again", "fail"])
def test_a_job_without_a_trace_of_its_end_is_asked_about(fresh: Fresh, choice: str) -> None:
    turns = [bash("echo {{input}} >> ledger.txt; sleep 2; echo said"), {"text": "{{last_result}}"}]
    daemon = fresh(routes={"job": turns})
    run = submit(daemon, "s", "job", "once")
    ledger = daemon.workspace / "ledger.txt"
    until(ledger.exists, what="the command has had its effect")

    jobs = daemon.jobs()
    daemon.kill9()
    for pid in jobs:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not daemon.jobs(), what="all of it is gone")
    daemon.start()
    asked = daemon.run(run, "waiting_for_question")
    question = daemon.client.questions.get(asked["pending_questions"][0])["questions"][0]
    assert "may or may not have happened" in question["text"]
    assert "echo once >> ledger.txt" in question["text"], "whoever is to look must know for what"
    answer = {"selected": [choice], "text": "it was done by hand" if choice == "done" else None}
    daemon.client.questions.answer(asked["pending_questions"][0], {question["id"]: answer})

    ended = daemon.run(run)
    expected = {"done": "it was done by hand", "run_again": "said", "fail": None}[choice]
    assert (ended["status"], ended["output"]) == ("failed" if choice == "fail" else "completed", expected)
    assert ledger.read_text() == "once\n" * (2 if choice == "run_again" else 1)
    assert len(entries(daemon, "s", "tool.started")) == (2 if choice == "run_again" else 1)


@pytest.mark.demand(1)
def test_an_answer_counts_for_one_start_only(fresh: Fresh) -> None:
    """Allowed to run again, and killed once more: it is asked about once more, not run a third time unseen."""
    daemon = fresh(routes={"job": [bash("echo {{input}} >> ledger.txt; sleep 2; echo said"), {"text": "done"}]})
    run = submit(daemon, "s", "job", "once")
    ledger = daemon.workspace / "ledger.txt"
    for count in (1, 2):
        until(lambda want=count: ledger.exists() and ledger.read_text() == "once\n" * want, what="the effect")
        jobs = daemon.jobs()
        daemon.kill9()
        for pid in jobs:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not daemon.jobs(), what="all of it is gone")
        daemon.start()
        asked = daemon.run(run, "waiting_for_question")["pending_questions"][0]
        choice = "run_again" if count == 1 else "done"
        daemon.client.questions.answer(asked, {"outcome": {"selected": [choice], "text": None}})

    assert daemon.run(run)["status"] == "completed"
    assert ledger.read_text() == "once\n" * 2
    assert len(entries(daemon, "s", "question.asked")) == len(entries(daemon, "s", "tool.started")) == 2


@pytest.mark.parametrize("policy", ["fail", "retry"])
def test_a_policy_decides_instead_of_a_person(fresh: Fresh, policy: str) -> None:
    config = {"recovery": {"ambiguous": policy}}
    daemon = fresh(config=config, routes={"job": [bash("echo {{input}} >> ledger.txt; sleep 2"), {"text": "done"}]})
    run = submit(daemon, "s", "job", "once")
    until((daemon.workspace / "ledger.txt").exists, what="the command has had its effect")

    jobs = daemon.jobs()
    daemon.kill9()
    for pid in jobs:
        os.kill(pid, signal.SIGKILL)
    daemon.start()

    ended = daemon.run(run)
    assert ended["status"] == ("failed" if policy == "fail" else "completed")
    assert (daemon.workspace / "ledger.txt").read_text() == "once\n" * (1 if policy == "fail" else 2)
    assert entries(daemon, "s", "question.asked") == []


def test_safe_calls_run_again_wherever_the_kill_was(fresh: Fresh) -> None:
    """The same run, killed at many places: each time it goes on, and nothing is left open."""
    daemon = fresh(routes={"work": WORK})
    runs = []
    for number in range(6):
        runs.append(submit(daemon, f"s{number}", "work", f"f{number}"))
        until(lambda at=number: len(daemon.kinds(f"s{at}")) > 2 + 3 * at or daemon.client.runs.get(runs[-1]).done)
        daemon.restart()

    for number, run in enumerate(runs):
        assert daemon.run(run)["output"] == "done"
        starts = entries(daemon, f"s{number}", "tool.started")
        finished = [one["data"]["call_id"] for one in entries(daemon, f"s{number}", "tool.finished")]
        assert sorted(finished) == sorted({one["data"]["call_id"] for one in starts})
        assert (daemon.workspace / f"f{number}.txt").read_text() == "1"


def test_sigterm_starts_nothing_new_and_leaves_jobs_to_their_runners(fresh: Fresh) -> None:
    turns = [bash("sleep 2; echo {{input}} >> ledger.txt; echo ok"), {"text": "{{last_result}}"}]
    daemon = fresh(config={"shutdown_grace": "200ms"}, routes={"job": turns})
    run = submit(daemon, "s", "job", "once")
    until(daemon.jobs, what="the job runs")

    assert daemon.stop() == 0
    assert daemon.jobs()
    daemon.start()

    assert daemon.run(run)["output"] == "ok"
    assert (daemon.workspace / "ledger.txt").read_text() == "once\n"


def test_no_folder_of_a_job_outlives_its_run(fresh: Fresh) -> None:
    """Whether it was cancelled, or killed between any two steps of a job's life, with all that it had begun."""
    daemon = fresh(routes={"job": [bash("sleep 30"), {"text": "done"}]})
    jobs = daemon.root / ".git" / "kheish" / "jobs"
    cancelled = submit(daemon, "s", "job")
    until(daemon.jobs, what="the job runs")
    daemon.client.runs.cancel(cancelled)
    daemon.run(cancelled)
    until(lambda: not list(jobs.iterdir()), what="its folder is gone")
    killed = submit(daemon, "t", "job")
    there = until(lambda: next(jobs.glob("job_*/claim"), None), what="the job is claimed").parent
    until(lambda: {path.name for path in there.iterdir()} == {"claim", "spec.json"}, what="all else is gone")

    daemon.kill9()
    for name in (f".new-{there.name}-1", f".removed-{there.name}-2", f"{there.name}-7"):
        shutil.copytree(there, jobs / name)
    with subprocess.Popen(["sleep", "60"]) as lives:  # of a try whose runner lives on when the run has ended
        claim = {**json.loads((there / "claim").read_text()), "pid": lives.pid, "start": folder.start_time(lives.pid)}
        (jobs / f"{there.name}-7" / "claim").write_text(json.dumps(claim))
        daemon.start()

        assert sorted(path.name for path in jobs.iterdir()) == [there.name, f"{there.name}-7"], "an open run may need"
        daemon.client.runs.cancel(killed)
        daemon.run(killed)
        until(lambda: not list(jobs.iterdir()), what="no folder is left")
        assert lives.wait(10) == -signal.SIGTERM


@pytest.mark.demand(1)
def test_a_job_that_was_never_claimed_starts_now_and_its_late_runner_refuses(tmp_path: Path) -> None:
    faults = Faults(tmp_path, Fault("runner", "link", path="*/claim", do="stop"))
    routes = {"job": [bash("echo {{input}} >> ledger.txt; echo said"), {"text": "{{last_result}}"}]}
    made = {"permissions": allow("echo *"), "routes": routes, "env": faults.env(tmp_path / "state")}
    with Daemon.fresh(tmp_path, **made) as daemon:
        run = submit(daemon, "s", "job", "once")
        until(lambda: faults.fired, what="the runner stands right before its claim")
        (late,) = daemon.jobs()
        daemon.kill9()
        daemon.env.clear()
        daemon.start()

        assert daemon.run(run)["output"] == "said"
        os.kill(late, signal.SIGCONT)
        until(lambda: not daemon.jobs(), what="the late runner has gone")
        assert (daemon.workspace / "ledger.txt").read_text() == "once\n"
        assert len(entries(daemon, "s", "tool.started")) == len(entries(daemon, "s", "tool.finished")) == 1


def test_where_all_calls_are_finished_the_loop_goes_on(fresh: Fresh) -> None:
    daemon = fresh(routes={"job": [bash("sleep 0.5; echo {{input}} >> ledger.txt"), {"text": "done"}]})
    run = submit(daemon, "s", "job", "once")
    seen(daemon, "s", "tool.started")
    daemon.client.pause()
    seen(daemon, "s", "tool.finished")

    daemon.restart()
    assert [one["data"]["turn"] for one in entries(daemon, "s", "model.requested")] == [0]
    daemon.client.resume()

    assert daemon.run(run)["output"] == "done"
    assert len(entries(daemon, "s", "tool.started")) == 1
    assert (daemon.workspace / "ledger.txt").read_text() == "once\n"


@pytest.mark.demand(18)
def test_answers_reach_the_questions_they_belong_to(fresh: Fresh) -> None:
    """The same question in three sessions, answered after a kill, in another order than it was asked."""
    daemon = fresh(routes={"asks": [ask("Which?", ("red", "blue")), {"text": "{{last_result}}"}]})
    runs = [submit(daemon, f"s{number}", "asks") for number in range(3)]
    asked = [daemon.run(run, "waiting_for_question")["pending_questions"][0] for run in runs]
    assert len(set(asked)) == 3

    daemon.restart()
    for number, choice in ((2, "b"), (0, "a"), (1, "b")):
        item = daemon.client.questions.get(asked[number])["questions"][0]["id"]
        daemon.client.questions.answer(asked[number], {item: {"selected": [choice], "text": None}})

    outputs = [daemon.run(run)["output"] for run in runs]
    assert ["red" in one for one in outputs] == [True, False, False]
    assert ["blue" in one for one in outputs] == [False, True, True]
    assert all(len(entries(daemon, f"s{number}", "model.requested")) == 2 for number in range(3))


@pytest.mark.parametrize("op", ["rename", "link"])
def test_a_kill_between_a_payload_and_its_line_leaves_nothing_behind(tmp_path: Path, op: str) -> None:
    path = {"rename": ".git/kheish/spill/*", "link": "sessions/*/spill/*"}[op]
    faults = Faults(tmp_path, Fault("daemon", op, path=path, do="kill-after"))
    made = {"routes": {"hello": [{"text": "hello"}]}, "env": faults.env(tmp_path / "state")}
    with Daemon.fresh(tmp_path, **made) as daemon:
        daemon.client.sessions.create("s", route="hello")
        daemon.quiet()
        with contextlib.suppress(KheishError):
            daemon.client.runs.start("s", "x" * 20_000)
        until(lambda: not daemon.running, what="the daemon is killed")
        assert faults.fired and list((daemon.root / ".git" / "kheish" / "spill").iterdir())
        daemon.end_of_life()
        daemon.env.clear()

        daemon.start()

        assert daemon.client.runs.list(session="s")["items"] == [], "it was never accepted"
        daemon.quiet()
        assert git(daemon.root, "status", "--porcelain", "-uall") == ""
        assert not list(daemon.root.glob("sessions/*/*/spill")) and not list(daemon.root.glob(".git/kheish/spill/*"))


def test_a_scribe_killed_while_the_daemon_starts_is_restarted_and_every_part_starts(tmp_path: Path) -> None:
    faults = Faults(tmp_path, Fault("scribe", "write", path="journals/daemon/*"))
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hello"}]}, env=faults.env(tmp_path / "state")) as daemon:
        assert faults.fired == {0: "scribe"}
        assert daemon.client.status()["problems"] == 0
        assert daemon.run(submit(daemon, "s", "hello"))["status"] == "completed"
        daemon.quiet()


def test_jobs_that_were_being_made_are_cleared_before_anything_goes_on(tmp_path: Path) -> None:
    faults = Faults(tmp_path, record=True)
    routes = {"job": [bash("sleep 0.2"), {"text": "done"}]}
    made = {"routes": routes, "permissions": allow("sleep *"), "env": faults.env(tmp_path / "state")}
    with Daemon.fresh(tmp_path, **made) as daemon:
        daemon.client.sessions.create("s", route="job")
        run = daemon.client.runs.start("s", "x").run_id
        daemon.kill9()
        daemon.end_of_life()
        left = daemon.root / ".git" / "kheish" / "jobs" / ".new-job_1-2" / "spec.json"
        left.parent.mkdir(parents=True)
        left.write_text("{}")
        before = len(list(faults.recorded()))
        daemon.start()
        assert daemon.run(run)["status"] == "completed"

        ops = list(faults.recorded())[before:]
        cleared = next(place for place, op in enumerate(ops) if op["path"].endswith(".new-job_1-2/spec.json"))
        logged = next(place for place, op in enumerate(ops) if op["op"] == "write" and "/wal/" in op["path"])
        assert cleared < logged and not left.parent.exists()
