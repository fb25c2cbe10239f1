"""A forked `kheish` is told from an executed one by nothing that tests look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forking
from tests.support.daemon import Daemon, until


def run(folder: Path, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home or folder)}
    return forking.run(words, env=env, cwd=folder, timeout=30)


def test_words_output_and_exit_code_are_the_same(tmp_path: Path) -> None:
    for words in (("--version",), ("status", "--state-root", "no"), ("init", "--nothing"), ("-s", "x", "ü", "\udce9")):
        command = [sys.executable, "-m", "kheish.cli.main", *words]
        real = subprocess.run(command, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True)
        forked = run(tmp_path, *words)

        assert (forked.returncode, forked.stdout.encode(), forked.stderr.encode()) == (
            real.returncode, real.stdout, real.stderr,
        )  # fmt: skip


def test_it_takes_over_the_home_the_folder_and_the_umask(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mask = os.umask(0o077)
    try:
        assert run(tmp_path, "init", home=home).returncode == 0
    finally:
        os.umask(mask)
    assert (home / "kheish-state" / "format.yaml").stat().st_mode & 0o777 == 0o600


def test_a_daemon_that_is_killed_or_stopped_says_so(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        process = daemon.process
        assert isinstance(process, forking.Forked) and process.poll() is None
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        assert daemon.stop() == 0 == process.returncode
        process = daemon.start().process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        assert until(process.poll) == -signal.SIGKILL
        process.terminate()  # it is gone, and nothing else may have its number


def test_settings_in_the_environment_are_of_an_executed_process(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}, env={"MY_SETTING": "1"}) as daemon:
        assert daemon.process is not None and not isinstance(daemon.process, forking.Forked)
        assert b"MY_SETTING=1" in Path(f"/proc/{daemon.process.pid}/environ").read_bytes()


def test_forked_helpers_have_the_daemons_words_and_end_with_it_or_alone(tmp_path: Path) -> None:
    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        scribe, worker = daemon.child("scribe"), daemon.child("gitworker")
        assert scribe is not None and worker is not None and sorted(daemon.helpers()) == sorted((scribe, worker))
        words = Path(f"/proc/{worker}/cmdline").read_text().split("\0")
        assert words[1:4] == ["-m", "kheish.store.git.gitworker", str(daemon.root)]
        assert os.getsid(scribe) == scribe
        os.kill(scribe, signal.SIGKILL)
        until(lambda: daemon.child("scribe") not in (None, scribe), what="the daemon sees its end")
        daemon.client.sessions.create("s", route="hello")
        assert daemon.client.runs.start("s", "go", wait="20s").data["output"] == "hi"
        daemon.kill9()
        daemon.end_of_life()
        assert daemon.start().stop() == 0
        until(lambda: not daemon.helpers(), what="they have ended with the daemon")


@pytest.mark.found("C13")
def test_ctrl_c_reaches_children_of_tests_that_were_started_in_the_background() -> None:
    press = "subprocess.run(['sh', '-c', 'kill -INT $$; exit 7']).returncode"
    script = f"import signal, subprocess\nsignal.signal(2, signal.SIG_IGN)\nimport tests.conftest\nprint({press})"
    top = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=top, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"-{signal.SIGINT:d}\n"), done.stderr
