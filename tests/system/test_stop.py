"""SIGTERM: no new step, tools get their grace, commands go on; `stop --end-jobs` ends them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.daemon import Daemon, ask, bash, git, until
from tests.system.conftest import Fresh
from tests.system.test_tasks import ended, go, routes, start


def begun(daemon: Daemon, session: str, route: str) -> str:
    """A run whose command has started."""
    daemon.client.sessions.create(session, route=route)
    run = daemon.client.runs.start(session, "x")
    until(daemon.jobs, what="the command runs")
    return run.run_id


def test_tools_get_their_grace_and_no_step_follows(fresh: Fresh) -> None:
    daemon = fresh(routes={"naps": [bash("sleep 0.7; echo slept"), {"text": "done"}]}, config={"shutdown_grace": "10s"})
    run_id = begun(daemon, "s", "naps")

    assert daemon.stop() == 0

    kinds = daemon.kinds("s")
    assert kinds[-1] == "tool.finished" and kinds.count("model.requested") == 1, kinds
    assert git(daemon.root, "status", "--porcelain") == ""
    assert '"daemon.stopped"' in git(daemon.root, "grep", "-h", "daemon.stopped", "HEAD", "--", "journals/daemon")
    assert daemon.start().run(run_id)["output"] == "done"


def test_a_drain_answers_not_ready_and_leaves_commands_alone(fresh: Fresh) -> None:
    daemon = fresh(routes={"long": [bash("sleep 4; echo x >> ledger.txt; echo slept"), {"text": "{{last_result}}"}]})
    run_id = begun(daemon, "s", "long")
    assert daemon.process is not None
    daemon.process.terminate()
    seen = set[int]()
    while daemon.running:
        try:
            seen.add(httpx.get(f"{daemon.url}/readyz", timeout=5, trust_env=False, verify=False).status_code)
        except httpx.HTTPError:
            break
        time.sleep(0.02)
    assert 503 in seen
    assert daemon.stop() == 0 if daemon.running else daemon.process.wait(20) == 0
    daemon.end_of_life()

    assert len(daemon.jobs()) == 1
    daemon.start()
    assert daemon.run(run_id)["output"] == "slept"
    assert (daemon.workspace / "ledger.txt").read_text() == "x\n"


def test_end_jobs_ends_them_and_the_next_daemon_knows(fresh: Fresh) -> None:
    turns = routes(both=[start("echo begun; sleep 60"), bash("sleep 60")])
    daemon = fresh(routes=turns)
    daemon.client.sessions.create("s", route="both", permission_rules=[{"tool": "*", "decision": "allow"}])
    run = daemon.client.runs.start("s", "x")
    until(lambda: len(daemon.jobs()) == 2, what="both commands run")

    stopped = daemon.cli("stop", "--end-jobs")

    assert stopped.returncode == 0, stopped.stderr
    daemon.end_of_life()
    assert daemon.jobs() == []
    assert daemon.kinds("s")[-1] == "task.ended"
    assert git(daemon.root, "status", "--porcelain") == ""
    daemon.start()
    assert "stopped by a person or the daemon" in str(daemon.run(run.run_id)["output"])
    task = ended(daemon, "s")
    assert (task["status"], task["output"]) == ("cancelled", "begun\n")


@pytest.mark.parametrize("left_for", [1, 999_999_999])
def test_a_wish_that_was_left_behind_is_for_nobody(fresh: Fresh, left_for: int) -> None:
    daemon = fresh(routes=routes(sleeps=[start("sleep 3")]))
    (daemon.root / ".kheish" / "end-jobs.json").write_text(f'{{"pid": {left_for}}}')
    go(daemon, "s", "sleeps")

    daemon.stop()

    assert len(daemon.jobs()) == 1
    assert ended(daemon.start(), "s")["status"] == "completed"


def test_a_stop_right_after_the_scribe_was_killed_is_whole(fresh: Fresh) -> None:
    """Its journals, index and last commit have all, and whoever asks meanwhile is not told of an inner error."""
    daemon = fresh(routes={"asks": [ask(), {"text": "x"}]})
    for number in range(3):
        daemon.client.sessions.create(f"s{number}", route="asks")
        scribe = daemon.child("scribe")
        assert scribe is not None
        os.kill(scribe, signal.SIGKILL)
        run = daemon.client.runs.start(f"s{number}", "x")
        with ThreadPoolExecutor(1) as pool:
            listed = pool.submit(daemon.http, "GET", "/v1/questions?status=pending")
            time.sleep(0.05 * number)
            began = time.monotonic()
            assert daemon.stop() == 0
        assert time.monotonic() - began < 20
        with contextlib.suppress(httpx.TransportError):
            assert listed.result().status_code in (200, 503)
        assert git(daemon.root, "status", "--porcelain") == ""

        daemon.start()
        daemon.run(run.run_id, "waiting_for_question")
        pending = daemon.client.questions.list(status="pending")["items"]
        assert [one["session_id"] for one in pending] == [f"s{one}" for one in reversed(range(number + 1))]
