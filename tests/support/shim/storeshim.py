"""A shim under the store of a chosen kheish process: it counts what reaches the disk, and has it go wrong at a place.

Never imported by Kheish. `sitecustomize` installs it in a process that has this folder on PYTHONPATH, and `KHEISH_SHIM`
in its environment: JSON, made by `tests/support/faults.py`:

    {"root": STATE_ROOT, "fired": FOLDER, "record": FILE or null, "rules": [
        {"process": "daemon", "op": "fsync", "path": "*/wal/*.log", "nth": 3, "do": "kill", "keep": 0, "stays": false,
         "armed": FILE or null}]}

`process`: `daemon`, `scribe`, `worker` (git), `runner` (of a job), `maintenance`, `cli`, or `*`. `op`, or several with
commas: `write` (os.write, pwrite, writev, and what file objects write), `fsync` (and fdatasync, of a file), `syncdir`,
`create` (open that makes or empties a file), `truncate`, `rename` (and replace), `link`, `unlink`, `mkdir`, `rmdir`; in
the daemon alone, `exchange` (of two files); through pygit2, in the worker alone, `blob`, `tree`, `commit`, `reflock` (a
reference is about to be locked), `ref` (the locked references move), `index`; `git` (a git that is run); `sqlite` (the
index); `space` (none is free); `*`.
`path` is a pattern of the path relative to the root, or of git's words.

The rule acts on the `nth` operation that it matches in its process; where it `stays`, on all from there on, else once,
over all processes and restarts. It counts only while the file `armed` is there, if one is named. `do`: `kill` (SIGKILL
before), `kill-after`, `torn` (the first `keep` bytes, or the first of two references, then SIGKILL), `stop` (SIGSTOP,
and on when somebody continues it), `record`, or the name of an errno (`ENOSPC`, `EIO`, `EROFS`): it fails with that, a
write after its first `keep` bytes. `record` names a file that gets one line for each operation that happened.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import errno
import fcntl
import fnmatch
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: the calls as they are without the shim
REAL = {
    name: getattr(os, name)
    for name in (
        "write", "pwrite", "writev", "fsync", "fdatasync", "open", "truncate", "ftruncate", "rename", "replace", "link",
        "unlink", "remove", "mkdir", "rmdir",
    )
}  # fmt: skip
_OPEN, _POPEN = io.open, subprocess.Popen
_STORE = {"scribe": "scribe", "gitworker": "worker", "maintenance": "maintenance"}
_INTO_RUNNER = "import sys; sys.path.insert(0, {folder!r}); import storeshim; storeshim.install(); sys.path.pop(0)\n"


class Shim:
    """What this process was told, and how far it has counted."""

    def __init__(self, asked: dict[str, Any], process: str) -> None:
        self.process = process
        self.root = os.path.realpath(asked["root"])
        self.fired = asked["fired"]
        self.rules = [(number, rule) for number, rule in enumerate(asked["rules"]) if rule["process"] in ("*", process)]
        self.counts = [0] * len(self.rules)
        self.lock = threading.RLock()
        name = asked.get("record")
        self.record = REAL["open"](name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC) if name else -1

    def inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The path relative to the root; None for what is elsewhere."""
        name = os.fsdecode(path)
        if not name.startswith("/"):
            base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
            name = f"{base}/{name}"
        folder, _, last = name.rpartition("/")
        if not name.startswith(self.root):
            name = f"{os.path.realpath(folder)}/{last}"
        name = os.path.normpath(name)
        return name[len(self.root) + 1 :] or "." if f"{name}/".startswith(f"{self.root}/") else None

    def of(self, descriptor: int) -> str | None:
        """The same for an open file; None also where nobody can reach it any more."""
        try:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return None
        return None if not name.startswith("/") or name.endswith(" (deleted)") else self.inside(name)

    def do(
        self,
        op: str,
        path: str,
        act: Callable[[], Any],
        *,
        part: Callable[[int], Any] | None = None,
        facts: Callable[[], dict[str, Any]] = dict,
    ) -> Any:
        """Have `act` happen, or what a rule wants instead. `part(k)` does its first `k` bytes."""
        with self.lock, self.alone():
            rule = self.due(op, path)
            what = rule["do"] if rule else "record"
            if what == "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif (what == "torn" or (hasattr(errno, what) and rule["keep"])) and part is not None:
                part(rule["keep"])
            if what in ("kill", "torn"):
                die()
            if hasattr(errno, what):
                number = getattr(errno, what)
                raise OSError(number, os.strerror(number), path)
            said = facts() if self.record >= 0 else {}
            result = act()
            if what == "kill-after":
                die()
            if self.record >= 0:
                said = {key: value() if callable(value) else value for key, value in said.items()}
                line = {"who": self.process, "pid": os.getpid(), "op": op, "path": path, **said}
                REAL["write"](self.record, (json.dumps(line) + "\n").encode())
            return result

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While one process does something and records it, the others wait: the record has the order of the disk."""
        if self.record >= 0:
            fcntl.flock(self.record, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if self.record >= 0:
                fcntl.flock(self.record, fcntl.LOCK_UN)

    def due(self, op: str, path: str) -> dict[str, Any] | None:
        """The rule that acts now."""
        found = None
        for place, (number, rule) in enumerate(self.rules):
            if rule["op"] != "*" and op not in rule["op"].split(","):
                continue
            if not fnmatch.fnmatchcase(path, rule["path"]) or (rule["armed"] and not os.path.exists(rule["armed"])):
                continue
            self.counts[place] += 1
            if self.counts[place] >= rule["nth"] and (self.first(number) or rule["stays"]):
                found = found or rule
        return found

    def first(self, number: int) -> bool:
        """Whether the rule acts for the first time, in whatever process."""
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            descriptor = REAL["open"](f"{self.fired}/{number}", flags, 0o600)
        except FileExistsError:
            return False
        REAL["write"](descriptor, f"{self.process} {os.getpid()}\n".encode())
        os.close(descriptor)
        return True


def die() -> None:
    """End at once, as by a kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def _process() -> str:
    words = sys.orig_argv
    for module, process in _STORE.items():
        if any(word.startswith("kheish.store.") and word.endswith(f".{module}") for word in words):
            return process
    if "-I" in words and any("kheish.jobs" in word for word in words):
        return "runner"
    if any("kheish" in word for word in words):
        return "daemon" if "serve" in words else "cli"
    return "other"


def install() -> None:
    """Put the shim under this process, where a rule or the record wants it."""
    asked = json.loads(os.environ["KHEISH_SHIM"])
    shim = Shim(asked, _process())
    if shim.process in ("other", "cli") and not shim.rules:
        return
    _descriptors(shim)
    _names(shim)
    _objects(shim)
    _children(shim)
    if any("sqlite" in rule["op"] for _, rule in shim.rules):
        _sqlite(shim)
    if shim.process == "worker":
        import storeshim_git

        storeshim_git.install(shim)
    if shim.process == "daemon":
        _exchanges(shim)


def _encoded(data: Any) -> str:
    return base64.b64encode(bytes(data)).decode()


def _descriptors(shim: Shim) -> None:
    """write, pwrite, writev, fsync, fdatasync, ftruncate."""

    def end(descriptor: int) -> int:
        appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
        return os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)

    def write(descriptor: int, data: Any) -> int:
        path = shim.of(descriptor)
        if path is None:
            return REAL["write"](descriptor, data)
        return shim.do(
            "write", path, lambda: REAL["write"](descriptor, data),
            part=lambda keep: REAL["write"](descriptor, bytes(data)[:keep]),
            facts=lambda: {"at": end(descriptor), "data": _encoded(data)},
        )  # fmt: skip

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        path = shim.of(descriptor)
        if path is None:
            return REAL["pwrite"](descriptor, data, offset)
        return shim.do(
            "write", path, lambda: REAL["pwrite"](descriptor, data, offset),
            part=lambda keep: REAL["pwrite"](descriptor, bytes(data)[:keep], offset),
            facts=lambda: {"at": offset, "data": _encoded(data)},
        )  # fmt: skip

    def ftruncate(descriptor: int, length: int) -> None:
        path = shim.of(descriptor)
        if path is None:
            return REAL["ftruncate"](descriptor, length)
        return shim.do("truncate", path, lambda: REAL["ftruncate"](descriptor, length), facts=lambda: {"at": length})

    def syncing(name: str) -> Callable[[Any], None]:
        def sync(file: Any) -> None:
            descriptor = file if isinstance(file, int) else file.fileno()
            path = shim.of(descriptor)
            if path is None:
                return REAL[name](descriptor)
            op = "syncdir" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync"
            return shim.do(op, path, lambda: REAL[name](descriptor))

        return sync

    os.write, os.pwrite, os.ftruncate = write, pwrite, ftruncate
    os.writev = lambda descriptor, buffers: os.write(descriptor, b"".join(buffers))
    os.fsync, os.fdatasync = syncing("fsync"), syncing("fdatasync")


def _names(shim: Shim) -> None:
    """open, truncate, rename, replace, link, unlink, remove, mkdir, rmdir."""

    def opening(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = None if isinstance(path, int) or not flags & (os.O_CREAT | os.O_TRUNC) else shim.inside(path, dir_fd)
        if where is None or (not flags & os.O_TRUNC and os.path.lexists(f"{shim.root}/{where}")):
            return REAL["open"](path, flags, mode, dir_fd=dir_fd)
        return shim.do(
            "create", where, lambda: REAL["open"](path, flags, mode, dir_fd=dir_fd), facts=lambda: {"mode": mode}
        )

    def truncate(path: Any, length: int) -> None:
        if isinstance(path, int):
            return os.ftruncate(path, length)
        where = shim.inside(path)
        if where is None:
            return REAL["truncate"](path, length)
        return shim.do("truncate", where, lambda: REAL["truncate"](path, length), facts=lambda: {"at": length})

    def two(name: str, op: str) -> Callable[..., None]:
        def call(source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
            def act() -> None:
                REAL[name](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

            old, new = shim.inside(source, src_dir_fd), shim.inside(target, dst_dir_fd)
            return act() if new is None else shim.do(op, new, act, facts=lambda: {"old": old})

        return call

    def one(name: str, op: str) -> Callable[..., None]:
        def call(path: Any, *more: Any, dir_fd: int | None = None, **others: Any) -> None:
            where = shim.inside(path, dir_fd)
            if where is None:
                return REAL[name](path, *more, dir_fd=dir_fd, **others)
            return shim.do(op, where, lambda: REAL[name](path, *more, dir_fd=dir_fd, **others))

        return call

    statvfs = os.statvfs

    def space(path: Any) -> os.statvfs_result:
        found = statvfs(path)
        if not isinstance(path, int) and (where := shim.inside(path)) is not None and shim.due("space", where):
            return os.statvfs_result((*found[:3], 0, 0, *found[5:]))
        return found

    os.statvfs = space
    os.open, os.truncate = opening, truncate
    os.rename, os.replace, os.link = two("rename", "rename"), two("replace", "rename"), two("link", "link")
    os.unlink, os.remove = one("unlink", "unlink"), one("remove", "unlink")
    os.mkdir, os.rmdir = one("mkdir", "mkdir"), one("rmdir", "rmdir")


def _exchanges(shim: Shim) -> None:
    """The exchange of two files, which no function of `os` makes."""
    from kheish.store import exchange

    exchanged = exchange._exchanged

    def call(source: Any, target: Any) -> bool:
        old, new = shim.inside(source), shim.inside(target)
        if new is None:
            return exchanged(source, target)
        done: bool = shim.do("exchange", new, lambda: exchanged(source, target), facts=lambda: {"old": old})
        return done

    exchange._exchanged = call


class _File(io.FileIO):
    """A file object's raw file, whose writes are counted."""

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        os.ftruncate(self.fileno(), length)
        return length


def _objects(shim: Shim) -> None:
    """`open` for writing, by whatever name."""

    def opening(
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None, newline: Any = None,
        closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        is_open = isinstance(file, int)
        writes = opener is None and set(mode) & set("wax+")
        if not writes or (shim.of(file) if is_open else shim.inside(file)) is None:
            return _OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _File(
            file if is_open else os.fspath(file),
            mode.replace("b", "").replace("t", ""),
            closefd=closefd,
            opener=None if is_open else lambda path, flags: os.open(path, flags, 0o666),
        )
        if "b" in mode and buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    io.open = builtins.open = opening


def _children(shim: Shim) -> None:
    """Runners of jobs, which are started without an environment, get the shim; a git that is run is counted."""
    folder = os.path.dirname(os.path.abspath(__file__))

    class Popen(_POPEN):  # type: ignore[type-arg]
        def __init__(self, args: Any, *more: Any, **options: Any) -> None:
            words = list(args) if isinstance(args, list | tuple) else [args]
            if "-I" in words and "-c" in words and any("kheish.jobs" in str(word) for word in words):
                code = words.index("-c") + 1
                words[code] = _INTO_RUNNER.format(folder=folder) + words[code]
                args = words
                options["env"] = {**(options.get("env") or {}), "KHEISH_SHIM": os.environ["KHEISH_SHIM"]}

            def act() -> None:
                _POPEN.__init__(self, args, *more, **options)

            if os.path.basename(str(words[0])) == "git":
                shim.do("git", " ".join(map(str, words[1:])), act)
            else:
                act()

        def __del__(self, **more: Any) -> None:
            with contextlib.suppress(AttributeError):  # it was never started
                super().__del__(**more)

    subprocess.Popen = Popen  # type: ignore[misc]


def _sqlite(shim: Shim) -> None:
    """The index: what changes it can fail as a full or a broken disk makes it fail."""
    import sqlite3

    def counted(sql: str, act: Callable[[], Any]) -> Any:
        try:
            return act() if sql.lstrip()[:6].upper() == "SELECT" else shim.do("sqlite", ".kheish/index.sqlite", act)
        except OSError as error:
            said = "database or disk is full" if error.errno == errno.ENOSPC else "disk I/O error"
            raise sqlite3.OperationalError(said) from error

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> Any:
            return counted(sql, lambda: super(Connection, self).execute(sql, *more))

        def executemany(self, sql: str, *more: Any) -> Any:
            return counted(sql, lambda: super(Connection, self).executemany(sql, *more))

        def executescript(self, sql: str) -> Any:
            return counted(sql, lambda: super(Connection, self).executescript(sql))

    connect = sqlite3.connect
    sqlite3.connect = lambda *words, **more: connect(*words, **{"factory": Connection, **more})  # type: ignore[assignment]
