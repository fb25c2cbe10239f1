"""The runner of a server process: it connects the process to the daemon's pipes, and ends it with the daemon.

`served.start` runs this as `python -I -S`, in its own session.
`lifeline` is a pipe from the daemon: its first line has the specification, and its end means that the daemon closed the
connection, or died. All descendants of the server end with it, since the runner is their subreaper. Its standard
streams are the server's own, so that the daemon sees when the server closes them.
"""

# Imported by the runner, see folder.py:

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import sys
import time

from kheish.jobs import seal, tree
from kheish.jobs.output import CHUNK

#: seconds between TERM and KILL, and after KILL until a process is left behind
GRACE, GIVE_UP = 2.0, 5.0
_KILL_EVERY = 0.02
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
#: exit statuses of the runner: the server could not be executed; it exceeded a limit
NOT_STARTED, EXCEEDED = 127, 125


def main(lifeline: int) -> int:
    """Run a server until it ends or the daemon closes the lifeline; return its exit status."""
    wake = _listen()
    os.set_inheritable(lifeline, False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    spec = _spec(lifeline)
    if spec is None:
        return NOT_STARTED
    return Served(spec, lifeline, wake).run()


def _listen() -> int:
    """Return a descriptor that becomes readable when a child ends, or a signal asks to stop."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return readable


def _spec(lifeline: int) -> dict[str, object] | None:
    """Return the specification, the first line of the lifeline; None if the daemon died before."""
    text = bytearray()
    while not text.endswith(b"\n"):
        data = os.read(lifeline, 65536)
        if not data:
            return None
        text += data
    found = json.loads(text)
    return found if isinstance(found, dict) else None


class Served:
    """The running server: its main process and all of its descendants."""

    def __init__(self, spec: dict[str, object], lifeline: int, wake: int) -> None:
        limits = spec.get("limits")
        self._lifeline = lifeline
        self._wake = wake
        self._status: int | None = None
        self._stop_wanted = False
        self._exceeded = False
        self._kill_at: float | None = None
        self._limits = limits if isinstance(limits, dict) else {}
        self._main = _spawn(spec, self._limits)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        self._watch = tree.Watch(self._limits, time.monotonic())

    def run(self) -> int:
        """Wait for the end, and return the exit status."""
        poll = select.poll()
        for descriptor in (self._wake, self._lifeline):
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while self._step():
            for descriptor, _ in poll.poll(self._patience()):
                if descriptor == self._wake:
                    self._stop_wanted = self._stop_wanted or signal.SIGTERM in _read(self._wake)
                elif not os.read(self._lifeline, 4096):
                    self._stop_wanted = True
                    poll.unregister(descriptor)
        return self._exit_status()

    def _exit_status(self) -> int:
        if self._exceeded:
            return EXCEEDED
        if self._status is None:
            return 1
        return os.WEXITSTATUS(self._status) if os.WIFEXITED(self._status) else 128 + os.WTERMSIG(self._status)

    def _step(self) -> bool:
        """Do the work that is due. Return False when every process has ended, or cannot be ended."""
        if not self._reap():
            return False
        now = time.monotonic()
        if self._kill_at is None:
            self._exceeded = self._watch.exceeded(now) is not None
            if self._exceeded:
                tree.end_at_once(self._main)
                self._kill_at = now
            elif self._stop_wanted or self._status is not None:
                tree.end(self._main, signal.SIGTERM)
                self._kill_at = now + GRACE
        elif now >= self._kill_at + GIVE_UP:
            return False
        elif now >= self._kill_at:
            tree.end(self._main, signal.SIGKILL)
        return True

    def _patience(self) -> int | None:
        """Return the milliseconds until work is due; None if there is none."""
        now = time.monotonic()
        due = max(self._kill_at, now + _KILL_EVERY) if self._kill_at is not None else self._watch.due()
        return None if due is None else max(int((due - now) * 1000) + 1, 0)

    def _reap(self) -> bool:
        """Collect the status of every child that has ended; return False when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                self._status = status


def _spawn(spec: dict[str, object], limits: dict[str, object]) -> int:
    """Fork and exec the server in its own session."""
    runner = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = NOT_STARTED
    try:
        os.setsid()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        tree.confine(limits)
        if os.getppid() == runner:
            _exec(spec)
    except OSError as error:
        os.write(2, f"{error.filename or 'kheish'}: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(status)


def _exec(spec: dict[str, object]) -> None:
    argv, env, cwd = spec["argv"], spec["env"], spec["cwd"]
    assert isinstance(argv, list) and isinstance(env, dict) and isinstance(cwd, str)
    os.chdir(cwd)
    if argv[0].endswith("/bwrap"):
        argv = seal.sealed(argv)
    try:
        os.execvpe(argv[0], argv, env)  # nosec B606  # a list of words without a shell is what is wanted
    except OSError as error:
        raise OSError(error.errno or errno.ENOENT, error.strerror, argv[0]) from None


def _read(descriptor: int) -> bytes:
    """Return the available bytes."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return b""


def _prctl(option: int, value: int) -> None:
    """Set a process option, on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
