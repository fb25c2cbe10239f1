"""Disks that are full, broken or read-only under a real daemon: what it says, and that nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import InsufficientStorage, KheishError, Unavailable
from tests.support.daemon import Daemon, allow, bash, until
from tests.support.faults import Fault, Faults

ROUTES = {
    "job": [bash("echo {{input}} >> ledger.txt"), {"text": "done"}],
    "large": [bash("seq 1 6000"), {"text": "done"}],
}
LOG = ".git/kheish/wal/*"


def armed(process: str, op: str, do: str, path: str = "*", *, stays: bool = True, keep: int = 0) -> Fault:
    return Fault(process, op, do, path=path, stays=stays, armed=True, keep=keep)


def served(tmp_path: Path, *rules: Fault, record: bool = False) -> tuple[Daemon, Faults]:
    """A daemon with a session of each route, that will have these faults once they are armed."""
    faults = Faults(tmp_path, *rules, record=record)
    made = {"routes": ROUTES, "permissions": allow("echo *", "seq *"), "env": faults.env(tmp_path / "state")}
    daemon = Daemon.make(tmp_path, **made)
    daemon.start()
    for route in ROUTES:
        daemon.client.sessions.create(route, route=route)
    daemon.quiet()
    return daemon, faults


def some(places: Mapping[str, Any], *here: str) -> list[Any]:
    """All places by name, those that are not `here` left to `make faults`."""
    return [name if name in here else pytest.param(name, marks=pytest.mark.faults) for name in places]


#: where a failure ends the daemon, since it could only pretend
FATAL = {
    "the log, full disk": armed("daemon", "write", "ENOSPC", LOG),
    "the log, full disk in the middle of a line": armed("daemon", "write", "ENOSPC", LOG, keep=30),
    "the log's fsync": armed("daemon", "fsync", "EIO", LOG, stays=False),
    "read-only": armed("daemon", "write,create,mkdir,rename,unlink,link,truncate", "EROFS"),
    "a spilled payload": armed("daemon", "write", "ENOSPC", ".git/kheish/spill/*"),
    "a journal's fsync": armed("scribe", "fsync", "EIO", "*.jsonl", stays=False),
    "an object's fsync": armed("worker", "fsync", "EIO", ".git/objects/*", stays=False),
}


@pytest.mark.parametrize("name", some(FATAL, "the log's fsync", "a journal's fsync"))
def test_a_failure_that_cannot_be_mended_ends_the_daemon_and_loses_nothing(tmp_path: Path, name: str) -> None:
    daemon, faults = served(tmp_path, FATAL[name], record=True)
    session = "large" if "payload" in name else "job"
    is_log = name.startswith("the log")
    acknowledged, said = [daemon.client.runs.start(session, "before").run_id], []
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end)
        if is_log:  # the next that is written must be the request's, and not a step of the run before it
            daemon.run(acknowledged[0])
            daemon.client.pause()
            daemon.quiet()
        faults.arm()
        refused = ""
        try:
            for number in range(20):
                acknowledged.append(daemon.client.runs.start(session, f"n{number}").run_id)
        except KheishError as error:
            refused = error.code
        until(lambda: not daemon.running, what="the daemon ends")
        assert daemon.process is not None and daemon.process.returncode == 1
        assert refused in (["store_failed"] if is_log else ["store_failed", "unavailable", "unreachable", ""])
        said.append(daemon.stderr())
        daemon.end_of_life()
        before = list(faults.recorded())
        daemon.env.clear()  # the next life has no faults
        daemon.start()
        daemon.client.resume()

        assert {daemon.run(run)["status"] for run in acknowledged} == {"completed"}
        daemon.quiet()
        assert "the daemon stops. No acknowledged data is lost" in said[0]
        assert "Traceback" not in said[0]
        # The one that failed was not recorded; had it been tried again, that would have been, after the last write.
        if name == "the log's fsync":
            assert [op["op"] for op in before if op["path"].startswith(".git/kheish/wal/")][-1] == "write"


#: where the log has what could not be written, so that the daemon goes on, says so, and catches up
MENDED = {
    "a journal": ("scribe_failed", armed("scribe", "write", "ENOSPC", "sessions/*.jsonl", keep=9)),
    "the index": ("scribe_failed", armed("scribe", "sqlite", "ENOSPC")),
    "a blob": ("commit_failed", armed("worker", "blob", "ENOSPC")),
    "a tree": ("commit_failed", armed("worker", "tree", "ENOSPC")),
    "a commit": ("commit_failed", armed("worker", "commit", "ENOSPC")),
    "a Record": ("commit_failed", armed("worker", "write", "ENOSPC", ".git/kheish/tmp/*", keep=5)),
    "a reference": ("held", armed("worker", "reflock", "ENOSPC")),
    "git's index": ("", armed("worker", "index", "ENOSPC")),  # only `git status` is late
    "small files": ("disk_failed", armed("daemon", "write", "ENOSPC", ".git/kheish/n.tmp")),
}


@pytest.mark.parametrize("name", some(MENDED, "a journal"))
def test_a_failure_behind_the_log_is_a_problem_until_it_is_over(tmp_path: Path, name: str) -> None:
    code, fault = MENDED[name]
    daemon, faults = served(tmp_path, fault)
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end)
        faults.arm()
        with contextlib.suppress(Unavailable):  # while the index is made again
            daemon.client.runs.start("job", "n0", idempotency_key="n0")
        until(lambda: faults.fired, what="the fault")
        if code == "held":
            until(lambda: daemon.client.status()["git"]["held"], what="the status says so")
        elif code:
            until(lambda: code in problems(daemon), what=f"{code} is listed")
        assert daemon.http("GET", "/healthz").status_code == 200
        faults.disarm()

        until(lambda: daemon.http("GET", "/readyz").status_code == 200, what="it is ready")
        run = daemon.client.runs.start("job", "n0", idempotency_key="n0")
        assert daemon.run(run.run_id)["status"] == "completed"
        daemon.quiet()
        until(lambda: not problems(daemon), what="the problem is over")
        fsck = subprocess.run(["git", "fsck", "--full"], cwd=daemon.root, capture_output=True, text=True, check=True)
        assert "error" not in fsck.stdout + fsck.stderr


def problems(daemon: Daemon) -> set[str]:
    return {one["code"] for one in daemon.http("GET", "/v1/problems").json()["items"]}


def test_below_the_free_space_mark_new_work_is_refused_until_there_is_some(tmp_path: Path) -> None:
    daemon, faults = served(tmp_path, armed("daemon", "space", "record"))
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end)
        faults.arm()
        until(lambda: daemon.client.status()["low_space"], what="the space is low")
        with pytest.raises(InsufficientStorage, match="Free some space"):
            daemon.client.runs.start("job", "x")
        assert problems(daemon) == {"low_space"} and "Traceback" not in daemon.stderr()

        faults.disarm()
        until(lambda: not daemon.client.status()["low_space"], what="there is space again")
        assert problems(daemon) == set()
        assert daemon.run(daemon.client.runs.start("job", "x").run_id)["status"] == "completed"


def test_a_root_that_nothing_can_be_written_to_is_not_served(tmp_path: Path) -> None:
    faults = Faults(tmp_path, Fault("daemon", "*", "EROFS", stays=True))
    daemon = Daemon.make(tmp_path, env={})
    daemon.env.update(faults.env(daemon.root))
    daemon.spawn()
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end)
        until(lambda: not daemon.running, what="it ends")

        assert daemon.process is not None and daemon.process.returncode not in (0, None)
        assert "Read-only file system" in daemon.stderr() and "Traceback" not in daemon.stderr()


def test_a_root_that_is_moved_away_ends_the_daemon_and_goes_on_where_it_is_now(tmp_path: Path) -> None:
    daemon, _ = served(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.end)
        run = daemon.client.runs.start("job", "before").run_id
        client = daemon.client
        daemon.root.rename(tmp_path / "elsewhere")
        with contextlib.suppress(KheishError):
            client.runs.start("job", "after")
        until(lambda: not daemon.running, what="the daemon ends")
        assert daemon.process is not None and daemon.process.returncode == 1
        assert "was moved away" in daemon.stderr()
        daemon.end_of_life()

        moved = Daemon(tmp_path / "elsewhere", daemon.workspace)
        stack.callback(moved.end)
        moved.start()
        assert moved.run(run)["status"] == "completed"
        moved.quiet()
        assert not (daemon.root / "format.yaml").exists() and not (daemon.root / "sessions").exists()
