"""The real daemon as a process on a state root of its own: started, killed, restarted, asked.

    with Daemon.fresh(tmp_path, routes={"hello": [{"text": "hi"}]}) as daemon:
        run = daemon.client.runs.start("s", "go", wait="10s")

Everything that waits has a bound, and says what the daemon wrote to stderr when it is reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from kheish.client import Kheish
from tests.support import forking, new_root
from tests.support.forked_helpers import FORKED_FOR

T = TypeVar("T")
Turns = Sequence[Mapping[str, Any]]
CLI = (sys.executable, "-m", "kheish.cli.main")
READY = 120.0  # seconds: generous, since machines that run tests are busy
PATIENCE = 60.0
_DRIVER = "kheish.runtime.driving.child"
#: kheish.yaml of a test's daemon
QUICK = {"sandbox": {"mode": "off"}, "shutdown_grace": "1s", "commit": {"every": "1s"}}


class DaemonDied(AssertionError):
    """The daemon ended, or did not become ready; the message has the end of its stderr."""


def until(condition: Callable[[], T | None], timeout: float = PATIENCE, *, what: str = "") -> T:
    """The first value of `condition` that is true; AssertionError after `timeout`.

    It is asked again after 10 ms, and after longer waits less often: what is waited for needs the processors itself.
    """
    began = time.monotonic()
    while True:
        found = condition()
        if found:
            return found
        waited = time.monotonic() - began
        if waited > timeout:
            raise AssertionError(f"not within {timeout:g} s: {what or condition}; last seen: {found!r}")
        time.sleep(min(max(0.01, waited / 10), 0.05))


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A tool call of a scripted turn."""
    return {"name": name, "arguments": arguments}


def bash(command: str, **more: Any) -> dict[str, Any]:
    """A turn that runs one command."""
    return {"tool_calls": [call("bash", command=command, **more)]}


def ask(text: str = "Which?", labels: Sequence[str] = ("yes", "no")) -> dict[str, Any]:
    """A turn that asks one question; its options get the ids a, b, …"""
    options = [{"label": label} for label in labels]
    return {"tool_calls": [call("ask_user_question", questions=[{"header": "H", "text": text, "options": options}])]}


def allow(*patterns: str) -> dict[str, Any]:
    """permissions.yaml that allows these commands, and writing anywhere in the workspace (redirections too)."""
    commands = [{"tool": "bash", "match": one, "decision": "allow"} for one in patterns]
    return {"mode": "default", "rules": [*commands, {"tool": "write_file", "match": "**", "decision": "allow"}]}


def scripted(turns: Turns, **more: Any) -> dict[str, Any]:
    """A route of the scripted driver."""
    return {"driver": "scripted", "script": {"turns": list(turns)}, **more}


def git(root: Path, *words: str, check: bool = True, **environ: str) -> str:
    """What git prints, as a person would run it (but never taking a lock only to refresh the index)."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", **environ}
    person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(
        ["git", *person, *words],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        errors="surrogateescape",
    )
    assert not check or done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout


def insist(root: Path, *words: str) -> None:
    """Run a git command that git refuses while the daemon writes the index: again, as its user does."""
    said = ""

    def is_done() -> bool:
        nonlocal said
        try:
            git(root, *words)
        except AssertionError as error:
            said = str(error)
            return False
        return True

    try:
        until(is_done, 30, what="git does it")
    except AssertionError:
        raise AssertionError(said) from None


@dataclass
class Daemon:
    """One state root and the process that serves it (or does not, at the moment)."""

    root: Path
    workspace: Path
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = CLI
    url: str = ""
    process: subprocess.Popen[bytes] | forking.Forked | None = None
    #: as `env`, but a forked process has them, too: nobody looks at `/proc/PID/environ`
    settings: dict[str, str] = field(default_factory=dict)

    # --- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        config: Mapping[str, Any] | None = None,
        permissions: Mapping[str, Any] | None = None,
        routes: Mapping[str, Turns | Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Daemon:
        """Make a fresh state root in `folder`, not served yet.

        Where `config` does not say else, commands run unconfined, and entries wait for a commit for a second at most:
        `quiet` would wait five for one that ends nothing.
        """
        made = cls(folder / "state", folder / "work", dict(env or {}), tuple(options), settings=dict(settings or {}))
        made.workspace.mkdir(parents=True)
        if made.is_forked:
            new_root.copy(made.root)
        else:
            done = made.cli("init", str(made.root))
            assert done.returncode == 0, done.stderr
        made.write("kheish.yaml", {**QUICK, **(config or {})})
        if permissions is not None:
            made.write("permissions.yaml", permissions)
        for name, given in (routes or {}).items():
            made.write(f"routes/{name}.yaml", given if isinstance(given, Mapping) else scripted(given))
        git(made.root, "add", "--", "kheish.yaml", "permissions.yaml", "routes")
        git(made.root, "commit", "-q", "-m", "What this test needs")
        return made

    @classmethod
    @contextlib.contextmanager
    def fresh(cls, folder: Path, **made: Any) -> Iterator[Daemon]:
        """A fresh state root, served; whatever still runs at the end is ended."""
        daemon = cls.make(folder, **made)
        try:
            yield daemon.start()
        finally:
            daemon.end()

    def environment(self) -> dict[str, str]:
        """What the process gets: nothing of the tester's own settings, and a home of its own."""
        return {**forking.environment(self.root.parent / "home"), **self.settings, **self.env}

    @property
    def is_forked(self) -> bool:
        """Return whether its processes are forked: with no other command, and no settings but the shim's or a clock."""
        return forking.has_sites_only(self.env) and self.command == CLI and forking.is_used()

    def write(self, path: str, data: Mapping[str, Any] | str) -> None:
        """A person's file: text as it is, anything else as JSON, which YAML contains."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(data if isinstance(data, str) else json.dumps(data, indent=1) + "\n")

    # --- the process --------------------------------------------------------------------------------------------------

    @property
    def stderr_path(self) -> Path:
        return self.root.parent / "daemon.stderr"

    def stderr(self, last: int = 6000) -> str:
        """The end of what all its processes wrote to stderr."""
        return self.stderr_path.read_text(errors="replace")[-last:] if self.stderr_path.exists() else ""

    def spawn(self) -> Daemon:
        """Start the process, without waiting for it."""
        assert self.process is None, "it runs already"
        words = ["--state-root", str(self.root), "serve", "--bind", "127.0.0.1:0"]
        words += ["--workspace", str(self.workspace), *self.options]
        with self.stderr_path.open("ab") as stderr:
            if self.is_forked:
                self.process = forking.start(words, env=self.environment(), cwd=self.workspace, stderr=stderr)
                return self
            self.process = subprocess.Popen(
                [*self.command, *words],
                env=self.environment(),
                cwd=self.workspace,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        return self

    def start(self, timeout: float = READY) -> Daemon:
        """Start the process and wait for its ready line. Raises DaemonDied."""
        self.spawn()
        line = self._first_line(timeout)
        if not line.startswith("kheish ready http"):
            self.end()
            raise DaemonDied(f"no ready line within {timeout:g} s but {line!r}; stderr:\n{self.stderr()}")
        self.url = line.split()[-1]
        return self

    def _first_line(self, timeout: float) -> str:
        assert self.process is not None and self.process.stdout is not None
        deadline, got = time.monotonic() + timeout, b""
        while b"\n" not in got and (left := deadline - time.monotonic()) > 0:
            ready = forking.is_readable(self.process.stdout.fileno(), left)
            chunk = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if ready and not chunk:
                break
            got += chunk
        return got.decode().partition("\n")[0]

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _reap(self, timeout: float) -> int:
        assert self.process is not None
        code = self.process.wait(timeout)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None
        return code

    def kill9(self) -> None:
        """SIGKILL to the daemon alone: its children find their pipes closed, its jobs run on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self._reap(10)

    def stop(self, timeout: float = 90) -> int:
        """SIGTERM, and the exit code when it has drained. Its grace and its last commit have 40 s by themselves."""
        assert self.process is not None, "it does not run"
        self.process.send_signal(signal.SIGTERM)
        try:
            return self._reap(timeout)
        except subprocess.TimeoutExpired:
            raise DaemonDied(f"it did not stop within {timeout:g} s; stderr:\n{self.stderr()}") from None

    def end(self) -> None:
        """Whatever it takes, for the end of a test."""
        self.kill9()
        for pid in self.jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end_of_life(self) -> None:
        """Reap a process that ended, and wait until its children have gone too: they finish what they had begun."""
        self.kill9()
        until(lambda: not self.helpers(), what="scribe and git worker have ended")

    def helpers(self) -> list[int]:
        """The pids of this root's scribes and git workers, whoever started them."""
        modules = {"kheish.store.log.scribe", "kheish.store.git.gitworker"}
        return [pid for pid, words in _processes() if modules & set(words) and str(self.root) in words]

    def driver_processes(self) -> list[int]:
        """The pids of the driver processes of this root's daemons: they work in the folder of their daemon."""
        found = [pid for pid, words in _processes() if _DRIVER in words]
        return [pid for pid in found if _folder(pid) == str(self.workspace)]

    def restart(self) -> Daemon:
        """kill -9 and start again."""
        self.kill9()
        return self.start()

    def child(self, module: str) -> int | None:
        """The pid of a child of the daemon (`scribe`, `gitworker`), or None."""
        assert self.process is not None
        return next(
            (
                pid
                for pid, words in _children(self.process.pid)
                if any(word.startswith("kheish.store.") and word.endswith(f".{module}") for word in words)
            ),
            None,
        )

    def jobs(self) -> list[int]:
        """The pids of the runners of this root's jobs, whoever started them."""
        folder = str(self.root / ".git" / "kheish" / "jobs")
        return [pid for pid, words in _processes() if any(word.startswith(folder) for word in words)]

    # --- asking -------------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return (self.root / ".kheish" / "token").read_text().strip()

    @property
    def client(self) -> Kheish:
        """A client that finds the daemon by its state root, so that it goes on over restarts."""
        return Kheish(state_root=self.root)

    def http(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """One plain request, for what the client hides: status, headers, malformed bodies (`content=`)."""
        headers = {"authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        more = {"timeout": 60, "trust_env": False, "verify": False, **more}  # certificates take 20 ms to load
        return httpx.request(method, self.url + path, headers=headers, **more)

    def cli(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run `kheish WORDS` against this root."""
        words = ("--state-root", str(self.root), *words)
        if self.command == CLI and forking.is_used() and forking.can_have(self.env):
            return forking.run(words, env=self.environment(), cwd=self.workspace, timeout=timeout)
        return subprocess.run(
            [*self.command, *words],
            env=self.environment(),
            cwd=self.workspace,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def run(self, run_id: str, *statuses: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The run when it has one of these statuses (default: any final one)."""
        wanted = statuses or ("completed", "failed", "cancelled", "interrupted")

        def there() -> dict[str, Any] | None:
            found = self.client.runs.get(run_id).data
            return dict(found) if found["status"] in wanted else None

        try:
            return until(there, timeout, what=f"run {run_id} is {' or '.join(wanted)}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.client.runs.get(run_id).data}\n{self.stderr()}") from None

    def quiet(self, timeout: float = PATIENCE) -> None:
        """Wait until everything is committed and `git status` is clean."""

        def is_quiet() -> bool:
            said = self.client.status()
            return said["git"]["committed_n"] == said["events"]["newest"] and not git(
                self.root, "status", "--porcelain"
            )

        try:
            until(is_quiet, timeout, what="everything committed, git status clean")
        except AssertionError as error:
            said = self.client.status()
            about = f"{said['events']} {said['git']}\n{git(self.root, 'status', '--porcelain')}"
            raise AssertionError(f"{error}\n{about}\n{self.stderr()}") from None

    # --- what is on the disk ------------------------------------------------------------------------------------------

    def journal(self, session: str) -> list[dict[str, Any]]:
        """The entries of a session, from its files (which follow the log in a moment)."""
        if self.running:
            newest = self.client.status()["events"]["newest"]
            until(lambda: self.client.status()["events"]["journaled"] >= newest, what="journals have what the log has")
        files = sorted(self.root.glob(f"sessions/*/{session}/journal/*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]

    def kinds(self, session: str) -> list[str]:
        """The kinds of a session's entries, oldest first."""
        return [entry["kind"] for entry in self.journal(session)]


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")


def _folder(pid: int) -> str | None:
    """The folder in which a process works; None if it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def _children(parent: int) -> Iterator[tuple[int, list[str]]]:
    for pid, words in _processes():
        with contextlib.suppress(OSError, IndexError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            is_forked = f"{FORKED_FOR}{parent}" in words
            if is_forked or int(stat.rpartition(")")[2].split()[1]) == parent:
                yield pid, words
