"""A real small model: a conversation past its window, through kills of its server and of the daemon. Nothing dies.

    MODEL_SERVER="python -m llama_cpp.server --model x.gguf --n_ctx 4096 --port {port}" make local-model TURNS=90

Any OpenAI-compatible server will do that takes its port on the command line and serves `/v1`. What a small model
answers may be useless (empty, or repeated until it is cut off): such a run fails by its own code, and the next works.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import Daemon, until

COMMAND = os.environ.get("MODEL_SERVER", "")
TURNS = int(os.environ.get("WINDOW_TURNS", "90"))
#: seconds: a prompt as large as the window takes minutes on one busy core
SLOW = 900.0
#: codes of runs for what a small model answers at times; what is lost otherwise would be Kheish's fault
USELESS = {"output_empty", "output_truncated"}

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not COMMAND, reason="MODEL_SERVER names no command that serves a model at {port}"),
]


class Server:
    """The model's server as a process, that can be killed and started again at the same address."""

    def __init__(self, log: Path) -> None:
        self.log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            words = shlex.split(COMMAND.format(port=self.port))
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        until(self.answers, 120, what=f"the server listens; it wrote to {self.log}")

    def answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/models", trust_env=False, timeout=60).status_code == 200
        return False

    def kill9(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "server.log")
    made.start()
    try:
        yield made
    finally:
        made.kill9()


def task(number: int) -> str:
    """A short task; at times one that needs a tool, and once one that is larger than the window."""
    if number % 9 == 4:
        return f"Read the file note{number % 3}.txt with the tool read_file, and say in one sentence what it is about."
    giant = "A line of a long log that is of no use.\n" * 1000 if number == TURNS // 2 + 1 else ""
    talk = f"The harvest of day {number} was {number * 7 % 90} baskets of apples, pears and plums. " * 4
    return f"{giant}{talk}My number of the moment is {number}. Answer in one short sentence."


def fault(number: int) -> str:
    """Return what is killed in the middle of this turn."""
    return {6: "daemon", 11: "server", 16: "both"}.get(number % 17, "")


def kill(daemon: Daemon, server: Server, run_id: str, what: str) -> None:
    """Kill while the run asks its model, and start again: a server after a while in which the daemon needs it."""
    daemon.run(run_id, "running", "completed", "failed", timeout=SLOW)
    if what in ("server", "both"):
        server.kill9()
    if what in ("daemon", "both"):
        daemon.restart()
    if what in ("server", "both"):
        until(lambda: is_waiting_or_over(daemon, run_id), SLOW, what="the run waits for its server")
        server.start()


def is_waiting_or_over(daemon: Daemon, run_id: str) -> bool:
    run = daemon.client.runs.get(run_id).data
    return run["waits_for"] is not None or run["finished_at"] is not None


@pytest.mark.found("A6")
def test_a_conversation_goes_on_past_the_window_of_a_real_model(tmp_path: Path, server: Server) -> None:
    generation = {"max_tokens": 200, "temperature": 0.3}
    route = {"driver": "openai", "model": "local", "api_base": server.url, "generation": generation}
    ended = list[dict[str, Any]]()
    # Records of runs change the beginning of each prompt, and with it what the server's cache is good for.
    config = {"memory": {"run_records": "off"}}
    with Daemon.fresh(tmp_path, routes={"local": route}, config=config) as daemon:
        for number in range(3):
            (daemon.workspace / f"note{number}.txt").write_text(
                f"Note {number}: the harvest of apples was good.\n" * 20
            )
        daemon.client.sessions.create("talk", route="local")
        for number in range(TURNS):
            run_id = daemon.client.runs.start("talk", task(number)).run_id
            if what := fault(number):
                kill(daemon, server, run_id, what)
            ended.append(daemon.run(run_id, timeout=SLOW))
        entries = daemon.journal("talk")
        report = summary(entries, ended)
        print(report)
        lost = [run for run in ended if run["status"] != "completed" and run["error"]["code"] not in USELESS]
        assert not lost, [run["error"] for run in lost]
        assert report["completed"] > TURNS * 2 / 3
        assert report["compactions"] and report["told"], "what does not fit is summarised, and it is said"
        assert daemon.cli("state", "verify", timeout=300).returncode == 0


def summary(entries: list[dict[str, Any]], ended: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what happened in the conversation, counted."""
    data = defaultdict[str, list[dict[str, Any]]](list)
    for entry in entries:
        data[entry["kind"]].append(entry["data"])
    return {
        "completed": sum(run["status"] == "completed" for run in ended),
        "codes": Counter(run["error"]["code"] for run in ended if run["error"]),
        "compactions": Counter(one["made_by"] for one in data["context.compacted"]),
        "told": sum(bool(one.get("omitted")) for one in data["model.requested"]),
        "failed attempts": Counter(one["error_kind"] for one in data["model.failed"]),
        "tools": Counter(one.get("code") or "done" for one in data["tool.finished"]),
        "prompts": sum(run["usage"]["input_tokens"] for run in ended),
    }
