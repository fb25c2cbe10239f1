"""The runner: a small process for a single command. It outlives the daemon; none of the command's processes outlives
it.

`Jobs.start` runs this as `python -I -S`, in its own session, with an empty environment and no descriptors. It imports
only light parts of the standard library, so that a command need not wait for its runner.
"""

# Imported by the runner, see folder.py:
# ruff: noqa: PTH106, PTH108, PTH112, PTH114

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import sys
import time

from kheish.jobs import folder, seal, tree
from kheish.jobs.output import CHUNK, Writer

#: seconds between TERM and KILL after the command's timeout, and after its main process ended before the rest
TIMEOUT_GRACE, LEFTOVER_GRACE = 5.0, 1.0
#: seconds after which a process that survives KILL (another user's, or in the kernel) is left behind
GIVE_UP = 5.0
#: the same for a command over its limit of processes: a bomb must not be left behind only because the machine is slow
_GIVE_UP_BOMB = 120.0
_KILL_EVERY = 0.02
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: signals that the runner (or Python) handles or ignores, and that a command must not inherit
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)


def main(path: str) -> None:
    """Run the job in folder `path`, and write its end. Does nothing if another runner has the claim."""
    wake = _listen()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    spec = folder.read(path, folder.SPEC)
    if not spec or not folder.take_claim(path, folder.identity()):
        return
    folder.write(path, folder.END, _run(path, spec, wake))


def _listen() -> int:
    """Return a descriptor that becomes readable when a signal arrives: the end of a child, or a request to stop."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return readable


def _run(path: str, spec: dict[str, object], wake: int) -> dict[str, object]:
    began = time.time()
    command = Command(path, spec)
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(command.output, select.POLLIN)
    while command.step():
        for descriptor, _ in poll.poll(command.patience()):
            if descriptor == wake:
                command.note_signals(_read(wake))
            elif not command.take_output():
                poll.unregister(descriptor)
    return {**command.end(), "started_at": began, "ended_at": time.time()}


class Command:
    """The running command: its main process, all of its descendants, and its output."""

    def __init__(self, path: str, spec: dict[str, object]) -> None:
        limit, timeout = spec["output_limit"], spec["timeout"]
        self._path = path
        self._writer = Writer(path, limit if isinstance(limit, int) else 0)
        self._began = time.monotonic()
        self._deadline = self._began + timeout if isinstance(timeout, int | float) else None
        self._kill_at: float | None = None
        self._status: int | None = None
        self._stop_wanted = self._stopped = self._timed_out = False
        self._exceeded: str | None = None
        self._ended = self._left = 0
        self.output, writable = os.pipe()
        os.set_blocking(self.output, False)
        argv, found, guard = spec["argv"], spec.get("limits"), spec.get("guard")
        self._guard: list[str] = guard if isinstance(guard, list) else []
        assert isinstance(argv, list)
        limits = found if isinstance(found, dict) else {}
        self._is_confined = argv[0].endswith("/bwrap")
        self._main = _spawn(spec, limits, writable)
        self._watch = tree.Watch(limits, self._began)
        os.close(writable)

    def note_signals(self, signals: bytes) -> None:
        """Record the signals that arrived."""
        self._stop_wanted = self._stop_wanted or signal.SIGTERM in signals

    def step(self) -> bool:
        """Do the work that is due. Return False when every process has ended (or cannot be ended)."""
        if not self._reap():
            return False
        now = time.monotonic()
        if self._kill_at is None:
            grace = self._grace(now)
            if grace is not None:
                self._kill_at = now + grace
                self._begin_to_end()
        elif now >= self._kill_at + (GIVE_UP if self._exceeded is None else _GIVE_UP_BOMB):
            self._left = len(tree.descendants() or ())
            return False
        elif now >= self._kill_at:
            tree.end(self._main, signal.SIGKILL)
        return True

    def _begin_to_end(self) -> None:
        if self._exceeded is not None:
            self._ended = self._watch.seen
            tree.end_at_once(self._main)
            return
        # The kernel ends the rest of a sandbox together with its first process, without reporting how many they were.
        if not (self._is_confined and self._status is not None):
            self._ended = len([one for one in tree.descendants() or () if one.name != b"bwrap"])
        tree.end(self._main, signal.SIGTERM)

    def patience(self) -> int | None:
        """Return the milliseconds until work is due; None if there is no limit."""
        now = time.monotonic()
        if self._kill_at is not None:
            due = max(self._kill_at, now + _KILL_EVERY)
        else:
            both = [at for at in (self._deadline, self._watch.due()) if at is not None]
            if not both:
                return None
            due = min(both)
        return min(max(int((due - now) * 1000) + 1, 0), 3_600_000)

    def take_output(self) -> bool:
        """Keep the available output; return False at its end."""
        try:
            data = os.read(self.output, CHUNK)
        except BlockingIOError:
            return True
        self._writer.write(data)
        return bool(data)

    def end(self) -> dict[str, object]:
        """Return the record of the command's end."""
        duration = time.monotonic() - self._began
        while data := _read(self.output):
            self._writer.write(data)
        self._writer.close()
        _remove(self._guard)
        status = self._status
        return {
            "exit_status": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            "timed_out": self._timed_out,
            "stopped": self._stopped,
            "exceeded": self._exceeded,
            "ended": self._ended,
            "left": self._left,
            "output_bytes": self._writer.total,
            "output_failure": self._writer.failure,
            "duration": duration,
        }

    def _grace(self, now: float) -> float | None:
        """Return the seconds between TERM and KILL if the command must end now, else None."""
        if self._stop_wanted:
            self._stopped = self._status is None
            grace = (folder.read(self._path, folder.STOP) or {}).get("grace")
            return float(grace) if isinstance(grace, int | float) else TIMEOUT_GRACE
        if self._status is not None:
            return LEFTOVER_GRACE
        if self._deadline is not None and now >= self._deadline:
            self._timed_out = True
            return TIMEOUT_GRACE
        _remove(self._guard)
        self._exceeded = self._watch.exceeded(now)
        return None if self._exceeded is None else 0.0

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


def _spawn(spec: dict[str, object], limits: dict[str, object], output: int) -> int:
    """Fork and exec the command in its own session (its `kill 0` must not reach the runner)."""
    runner = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 126
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.setsid()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        # A killed runner leaves no command behind, so "gone" implies that the command no longer runs.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        tree.confine(limits)
        if os.getppid() == runner:
            _exec(spec)
    except OSError as error:
        os.write(2, f"{error.filename or 'kheish'}: {error.strerror}\n".encode(errors="replace"))
        status = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
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
        raise OSError(error.errno, error.strerror, argv[0]) from None


def _read(descriptor: int) -> bytes:
    """Return the available output."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return b""


def _remove(paths: list[str]) -> None:
    """Remove files that a command must not create."""
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.unlink(path)


def _prctl(option: int, value: int) -> None:
    """Set a process option, on Linux only. Elsewhere a process that leaves its session escapes, and a killed runner
    leaves its command behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
