"""Start `kheish WORDS` by a fork of a server that has imported the code.

Three quarters of the CPU time of a daemon's start are imports, and the suite starts hundreds of daemons. A forked
process runs the same code in a session, with descriptors and in a working folder of its own, and executes its children
as ever. What differs: `/proc/PID/environ` and `/proc/PID/cmdline` are the server's, the interpreter does not read the
environment again, and what every start does alike is done (`warm`). Therefore a daemon with settings in its environment
is executed, not forked, and so is a command line with settings for the interpreter (`tests.support.daemon`). The shim
and the clock of the tests are no such settings: a forked process installs them as Python does at start.
`KHEISH_TEST_FORK=0` (`make crash`, `make powercut`, `make bench`) executes all of them.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import mimetypes
import os
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

#: the modules that the server imports: those that each daemon imports before it is ready; others stay lazy
PRELOADED = (
    "kheish.cli.main", "kheish.daemon.serve", "uvloop", "jsonschema", "watchdog.observers",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
)  # fmt: skip
#: what processes get of the tester's environment
PASSED_ON = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
#: how an environment variable begins that only the start of an interpreter obeys
_INTERPRETERS = ("PYTHON", "LC_", "LANG", "LD_")
#: folders on PYTHONPATH whose `sitecustomize` changes functions of loaded modules, with the variable that it obeys
_SITES = {str(Path(__file__).parent / "shim"): "KHEISH_SHIM", str(Path(__file__).parent / "clock"): "KHEISH_TEST_CLOCK"}
#: how many descriptors come with a request: stdin, stdout, stderr, where the exit status is written
_PASSED = 4
_LARGEST = 1 << 20


def is_used() -> bool:
    """Return whether processes may be forked."""
    return os.environ.get("KHEISH_TEST_FORK", "1") != "0"


def can_have(env: Mapping[str, str]) -> bool:
    """Return whether a forked process obeys these settings of its environment as an executed one does."""
    folder = site(env)
    return not any(name.startswith(_INTERPRETERS) for name in env if name != "PYTHONPATH" or folder is None)


def has_sites_only(env: Mapping[str, str]) -> bool:
    """Return whether these settings are none but the shim's, or the clock's."""
    folder = site(env)
    return not env or (folder is not None and set(env) == {"PYTHONPATH", _SITES[folder]})


def on_path(folder: Path) -> str:
    """Return a PYTHONPATH with a folder before the tester's own."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def site(env: Mapping[str, str]) -> str | None:
    """Return the folder of the shim or the clock, if PYTHONPATH has that before the tester's own and nothing else."""
    folder = env.get("PYTHONPATH", "").partition(os.pathsep)[0]
    return folder if folder in _SITES and env["PYTHONPATH"] == on_path(Path(folder)) else None


def environment(home: Path) -> dict[str, str]:
    """Return what processes get: nothing of the tester's own settings, and a home of their own."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**passed, "HOME": str(home)}


# --- the tester's side ------------------------------------------------------------------------------------------------


class Forked:
    """A forked process, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, status: int, stdout: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        with self._lock:
            if self.returncode is None and is_readable(self._status, 0):
                self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if left == 0.0:
                raise subprocess.TimeoutExpired(f"forked process {self.pid}", timeout or 0)
            with contextlib.suppress(OSError):  # another thread has seen the end
                is_readable(self._status, min(left or 1.0, 1.0))
        assert self.returncode is not None
        return self.returncode

    def _ended(self) -> None:
        said = os.read(self._status, 64)
        os.close(self._status)
        assert said, "the server of forked processes has ended"
        self.returncode = int(said)

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def is_readable(descriptor: int, seconds: float) -> bool:
    """Wait until a descriptor can be read. `select` takes no descriptors above 1023."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


class Server:
    """The process that forks, started when the first process is wanted; it ends with the tester's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._owner = 0
        self._helpers = ""

    def fork(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> tuple[int, int]:
        """Start `kheish WORDS`; return its pid and the descriptor from which its exit code can be read."""
        asked = {"words": list(words), "env": dict(env), "cwd": str(cwd), "umask": umask(), "site": site(env)}
        status, written = os.pipe()
        try:
            with self._lock:
                control = self._started(env)
                asked["helpers"] = self._helpers
                socket.send_fds(control, [json.dumps(asked).encode()], [stdin, stdout, stderr, written])
                answer = control.recv(64)
        finally:
            os.close(written)
        assert answer, "the server of forked processes has ended"
        return int(answer), status

    def _started(self, env: Mapping[str, str]) -> socket.socket:
        if self._socket is None or self._owner != os.getpid():
            from tests.support import forked_helpers

            own = environment(Path(env["HOME"]))
            self._helpers, helpers = forked_helpers.start_server(own)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.forking", str(theirs.fileno()), "kheish"],
                    cwd=Path(__file__).parents[2],
                    env=own,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            self._socket, self._owner = ours, os.getpid()
            atexit.register(_end, ours, (process, helpers), os.getpid())
        return self._socket


def _end(control: socket.socket, processes: Sequence[subprocess.Popen[bytes]], owner: int) -> None:
    if owner == os.getpid():
        control.close()
        for process in processes:
            process.communicate(timeout=10)


def umask() -> int:
    """Return the umask of this process, without setting another for a moment."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)


SERVER = Server()


def start(words: Sequence[str], *, env: Mapping[str, str], cwd: Path, stderr: IO[bytes]) -> Forked:
    """Start `kheish WORDS`, with its stdout to be read from."""
    out, written = os.pipe()
    with open(os.devnull, "rb") as null:
        try:
            pid, status = SERVER.fork(
                words, env=env, cwd=cwd, stdin=null.fileno(), stdout=written, stderr=stderr.fileno()
            )
        finally:
            os.close(written)
    return Forked(pid, status, os.fdopen(out, "rb", buffering=0))


def run(words: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `kheish WORDS` to its end. Raises TimeoutExpired."""
    import tempfile

    with open(os.devnull, "rb") as null, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid, status = SERVER.fork(
            words, env=env, cwd=cwd, stdin=null.fileno(), stdout=out.fileno(), stderr=err.fileno()
        )
        process = Forked(pid, status, None)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(["kheish", *words], code, *texts)


# --- the server's side ------------------------------------------------------------------------------------------------


def serve(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request until the tester is gone, and say how each ended. Returns in the forked processes
    only, with their request and its descriptors."""
    running: dict[int, tuple[int, int]] = {}  # by the descriptor that tells the end: pid, where to say it
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd != control.fileno():
                    selector.unregister(key.fd)
                    report(key.fd, *running.pop(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, _LARGEST, _PASSED)
                if not message:
                    os._exit(0)
                pid = os.fork()
                if pid == 0:
                    control.detach()  # no object may close a number that the new process uses for another file
                    return json.loads(message), descriptors
                control.send(str(pid).encode())
                for descriptor in descriptors[:-1]:
                    os.close(descriptor)
                ended = os.pidfd_open(pid)
                running[ended] = (pid, descriptors[-1])
                selector.register(ended, selectors.EVENT_READ)


def report(ended: int, pid: int, status: int) -> None:
    """Reap a process, write its exit code where that is wanted, and close both descriptors."""
    _, code = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
    os.close(status)
    os.close(ended)


def become(asked: Mapping[str, Any], descriptors: Sequence[int], command: Sequence[str]) -> None:
    """Make of this fork the process that was asked for, as if it had been executed with a command line."""
    os.setsid()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)  # no server has more
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # the server's would ask /dev/null for places
        stream = getattr(sys, name)
        made = open(stream.fileno(), mode, encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, made)
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    sys.orig_argv = list(command)
    if asked["site"] is not None:
        sys.path.insert(0, asked["site"])
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")


def warm() -> str | None:
    """Do once what each daemon does alike at its start: try the sandbox, describe the tools, read the MIME types.

    Returns the bubblewrap that was tried.
    """
    from kheish.jobs import probing
    from kheish.runtime.tools import registry
    from kheish.runtime.tools.shell import SandboxSettings

    probing.probe()
    registry.builtin(lambda: SandboxSettings("off", available=False))
    mimetypes.init()
    return shutil.which("bwrap")


def main() -> int:
    """Import the code, and be the server; in a forked process, `kheish WORDS`."""
    import gc

    from kheish.jobs import probing
    from tests.support import forked_helpers

    for name in PRELOADED:
        importlib.import_module(name)
    sandbox = warm()
    gc.collect()
    gc.freeze()  # for the forked ones, too: a collection that looked at it all would copy it all
    asked, descriptors = serve(socket.socket(fileno=int(sys.argv[1])))
    become(asked, descriptors, [sys.executable, "-m", "kheish.cli.main", *asked["words"]])
    if shutil.which("bwrap") != sandbox:
        probing.probe.cache_clear()
    forked_helpers.use(asked["helpers"], asked["site"])
    sys.argv = ["kheish", *asked["words"]]
    from kheish.cli import main as command

    return command.main()


def end_here(code: int) -> None:
    """End this process as the interpreter does, but leave all that it imported to the kernel.

    To take it apart costs a quarter of a second, most of it for copies of memory that is shared with the server.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    end_here(main())
