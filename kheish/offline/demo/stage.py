"""The demo's stage: the daemon as a real process, the real command line, and checks that stop the demo."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from kheish.store.git import command as git_store

T = TypeVar("T")

#: how the CLI and the daemon are started: this very Python, wherever `kheish` is on the PATH
KHEISH = (sys.executable, "-m", "kheish.cli.main")
_WIDTH = 80


class Failed(Exception):
    """A deviation from what the demo announces; the text says which."""


@dataclass(slots=True)
class Stage:
    """The folder of the demo, and the processes that run now."""

    base: Path
    daemon: subprocess.Popen[bytes] | None = None
    url: str = ""
    #: a command that watches a run beside us
    follower: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.base / "state"

    @property
    def workspace(self) -> Path:
        return self.base / "shop"

    @property
    def log(self) -> Path:
        return self.base / "daemon.log"


@contextlib.contextmanager
def opened(base: Path) -> Iterator[Stage]:
    """Yield a stage, and end its processes, whatever happens."""
    stage = Stage(base)
    try:
        yield stage
    finally:
        for process in (stage.follower, stage.daemon):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()


def heading(text: str) -> None:
    """Print the heading of a new part of the story."""
    say()
    say(click.style(f"── {text} ".ljust(_WIDTH, "─"), fg="cyan", bold=True))


def say(text: str = "") -> None:
    """Print a line of the narrator. It is flushed: other processes write to the same terminal."""
    click.echo(text)
    sys.stdout.flush()


def typed(*words: str) -> None:
    """Print a command that a person could have typed."""
    say(click.style("$ " + shlex.join(words), bold=True))


def check(happened: object, what: str) -> None:
    """Raise Failed with `what` unless it happened."""
    if not happened:
        raise Failed(what)


def eventually(look: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Return what `look` finds, as soon as it finds something. Raises Failed with `what`."""
    until = time.monotonic() + seconds
    while not (found := look()):
        check(time.monotonic() < until, what)
        time.sleep(0.05)
    return found


def environment() -> dict[str, str]:
    """Return our environment, without what would lead to another daemon or repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KHEISH_", "GIT_"))}
    # The commands of the agent get their Python from the daemon's PATH: it should be one that is sure to be there.
    path = f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {"PATH": path, "KHEISH_LOG": "warning"}


def serve(stage: Stage, *options: str) -> None:
    """Start the daemon and wait until it is ready. Raises Failed."""
    typed("kheish", "serve", "--state-root", stage.root.name, "--bind", "127.0.0.1:0", *options)
    with stage.log.open("ab") as log:
        stage.daemon = subprocess.Popen(
            [*KHEISH, "serve", "--state-root", str(stage.root), "--bind", "127.0.0.1:0", *options],
            cwd=stage.base,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the daemon
        )
    assert stage.daemon.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(stage.daemon.stdout, selectors.EVENT_READ)
        line = stage.daemon.stdout.readline().decode() if selector.select(30) else ""
    check(line.startswith("kheish ready "), f"the daemon did not get ready; {stage.log} says why")
    say(line.rstrip())
    stage.url = line.split()[-1]


def kill(stage: Stage) -> None:
    """Kill the daemon with SIGKILL: it gets no chance to tidy up."""
    assert stage.daemon is not None
    typed("kill", "-9", str(stage.daemon.pid))
    stage.daemon.kill()
    stage.daemon.wait()
    stage.daemon = None


def kheish(stage: Stage, *words: str, expect: int = 0) -> None:
    """Run a command of the CLI as a person would, with its output on our terminal. Raises Failed."""
    done = following(stage, *words).wait()
    check(done == expect, f"`kheish {words[0]} …` ended with exit code {done}, not {expect}")


def following(stage: Stage, *words: str) -> subprocess.Popen[bytes]:
    """Start a command of the CLI with its output on our terminal. It runs beside us."""
    typed("kheish", *words)
    return subprocess.Popen(
        [*KHEISH, *words], cwd=stage.base, env=environment() | _here(stage), stdin=subprocess.DEVNULL
    )


def ask(stage: Stage, *words: str) -> Any:
    """Return the JSON that a command of the CLI answers with, without showing it. Raises Failed."""
    done = subprocess.run(
        [*KHEISH, *words, "--output", "json"],
        cwd=stage.base,
        env=environment() | _here(stage),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    check(done.returncode == 0, f"`kheish {shlex.join(words)}` failed: {done.stderr.decode().strip()}")
    return json.loads(done.stdout)


def requests_answered(stage: Stage) -> int:
    """Return how many requests the daemon has answered, by its own counters, without this one. Raises Failed."""
    import urllib.request

    token = (stage.root / ".kheish" / "token").read_text().strip()
    asked = urllib.request.Request(f"{stage.url}/metrics", headers={"Authorization": f"Bearer {token}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for elsewhere
    try:
        with direct.open(asked, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError as error:
        raise Failed(f"the daemon does not answer at {stage.url}: {error}") from error
    return sum(int(line.split()[-1]) for line in lines if line.startswith("kheish_http_requests_total{"))


def git(folder: Path, *words: str) -> str:
    """Return what a git command prints. Raises Failed."""
    done = git_store.run(folder, words)
    check(done.returncode == 0, f"`git {shlex.join(words)}` failed: {done.stderr.decode().strip()}")
    return done.stdout.decode()


def program() -> str:
    """Return how a person calls `kheish` from the current folder."""
    own = Path(sys.executable).with_name("kheish")
    if shutil.which("kheish") or not own.exists():
        return "kheish"
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)


def _here(stage: Stage) -> dict[str, str]:
    return {"KHEISH_STATE_ROOT": str(stage.root)}
