"""Detection of a user's git at work in the state root. During that the daemon commits nothing and writes no tracked
file."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from kheish.store import lock

#: the branch that the daemon commits to
BRANCH = "refs/heads/main"

#: files of which git opens each, whatever it is, when it looks at the work tree, and the most bytes that it should read
_CONFIGURING = (
    ".git/HEAD", ".git/config", ".git/info/attributes", ".git/info/exclude",
    ".gitattributes", ".gitignore", ".gitmodules", ".mailmap",
)  # fmt: skip
_CONFIGURING_BYTES = 64 * 1024 * 1024
_LOCKS = ("index.lock", "HEAD.lock", f"{BRANCH}.lock", "packed-refs.lock")
_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or git am",
    "sequencer": "a sequence of cherry-picks",
}
_WRITERS = frozenset((
    "add", "am", "apply", "bisect", "checkout", "checkout-index", "cherry-pick", "clean", "commit",
    "filter-branch", "merge", "mv", "prune", "pull", "read-tree", "rebase", "reset", "restore", "revert", "rm",
    "sparse-checkout", "stash", "switch", "update-index", "update-ref",
))  # fmt: skip
_CLONE = frozenset(("clone",))
#: global options of git whose value is the next word
_VALUED = frozenset(("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env"))


#: processes are scanned this often at most (seconds), and never for more than one part in so many of the time
_SCAN_EVERY = 0.02
_SCAN_SHARE = 20
#: seconds after which a process that is not git will not become git (a shell forks before it executes)
_YOUNG = 0.2

#: looks at a lock file that changes all the time
_LOOKS = 20

#: the folders of jobs (`kheish.jobs`)
_JOBS = ".git/kheish/jobs"

#: the daemon's own entries at the top of the tree; everything else belongs to users
DAEMON = frozenset((
    "sessions", "flows", "journals", "projects-tasks", "dead-letter", "observations", "assets",
    "conflicts", "pending", "schemas", "format.yaml", "README.md", ".gitattributes", ".gitignore",
))  # fmt: skip


class Held(Exception):
    """The error that a user's git interfered; nothing was committed."""


def owned(path: str) -> bool:
    """Return whether the daemon owns `path` (relative to the root), and may write and restore it."""
    return path.partition("/")[0] in DAEMON


def check(root: Path, *, family: int | None = None) -> str | None:
    """Return the reason why the daemon must hold, in one sentence, or None.

    `family` is a process whose descendants do not count (the daemon); by default the parent of this process.
    Descendants of jobs never count, even after the daemon that started them has ended.
    """
    return signs(root) or writer(root, family=family)


def signs(root: Path) -> str | None:
    """Return the traces of an active git in `.git`: a few stats, while `check` scans all processes."""
    return special_files(root) or locks(root) or _under_way(root) or branch(root)


def special_files(root: Path) -> str | None:
    """Return the reason to hold if git would wait for ever for a file that configures it, or read it without end, else
    None."""
    for name in _CONFIGURING:
        status = _status(f"{root}/{name}")
        if status is None:
            continue
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return f"{name} is a pipe or a device, so git would wait for it: rm {name}"
        if status.st_size > _CONFIGURING_BYTES and stat.S_ISREG(status.st_mode):
            return f"{name} has {status.st_size} bytes, and git would read all of them: rm {name}"
    return None


class Gate:
    """A throttled `check` for frequent callers: lock files and branch each time, processes now and then (5 % of the
    time)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writer: str | None = None
        self._next = 0.0
        self._known: dict[str, float] = {}  # processes, and since when each is known not to be git

    def reason(self, *, fresh: bool = False) -> str | None:
        """Return the reason to hold, or None. `fresh` forces a scan of the processes, however recent the last."""
        reason = signs(self._root)
        if reason is None and (fresh or time.monotonic() >= self._next):
            # CPU time of this process alone: by wall time it would hardly ever scan on a busy machine
            began = time.process_time()
            self._writer = writer(self._root, known=self._known)
            cost = time.process_time() - began
            self._next = time.monotonic() + max(_SCAN_EVERY, cost * _SCAN_SHARE)
        return reason or self._writer


def locks(root: Path) -> str | None:
    """Return the reason to hold if there is a lock file of git that is not ours, else None."""
    for name in _LOCKS:
        path = f"{root}/.git/{name}"
        if _status(path) is not None and _is_foreign(path, lock.note_of(root, name)):
            return f"Another git command holds .git/{name}; if none runs, a killed one left it behind: rm .git/{name}"
    return None


def _is_foreign(path: str, note: Path) -> bool:
    """Return whether a lock file exists that is not ours. The note for our own lock is written before it, and outlives
    it; so a lock that was the same before and after its note was missing is foreign. Our next lock is another file."""
    for _ in range(_LOOKS):
        before = _identity(path)
        if before is None or note.exists():
            return False
        if _identity(path) == before:
            return True
    return True


def _identity(path: str) -> tuple[int, int] | None:
    status = _status(path)
    return (status.st_ino, status.st_ctime_ns) if status is not None else None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - some twenty of them before each write
    except OSError:
        return None


def branch(root: Path) -> str | None:
    """Return the reason to hold if HEAD is detached, or on a branch that is not the daemon's, else None."""
    with open(f"{root}/.git/HEAD", "rb") as file:  # noqa: PTH123 - before each write
        head = file.read().decode().strip()
    if head == f"ref: {BRANCH}":
        return None
    ours = BRANCH.removeprefix("refs/heads/")
    if head.startswith("ref: "):
        theirs = head.removeprefix("ref: ").removeprefix("refs/heads/")
        return f"The branch {theirs} is checked out; the daemon commits to {ours}: git switch {ours}"
    return f"HEAD is detached; the daemon commits to {ours}: git switch {ours}"


def _under_way(root: Path) -> str | None:
    for name, what in _UNDER_WAY.items():
        if _status(f"{root}/.git/{name}") is not None:
            if name == "rebase-merge" and not (root / ".git" / name / "head-name").exists():
                return (
                    "A rebase has only begun (.git/rebase-merge); if none runs, git gave up because a file changed at "
                    "that moment: run git rebase --quit, and git stash pop if git had stashed your changes."
                )
            return f"{what.capitalize()} is under way (.git/{name}); finish or abort it."
    return None


def cloned(root: Path, known: dict[str, float]) -> bool:
    """Return whether a process is cloning the root by its path, on Linux. git then copies its files one by one."""
    return writer(root, family=0, known=known, commands=_CLONE) is not None  # the daemon itself never clones


def writer(
    root: Path,
    *,
    family: int | None = None,
    known: dict[str, float] | None = None,
    commands: frozenset[str] = _WRITERS,
) -> str | None:
    """Return the reason to hold if a live git process in the root runs a command that writes (or one of `commands`), on
    Linux; else None.

    `known` is kept between calls, so that a process that has not been git for a while is skipped.
    """
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - hundreds
    except FileNotFoundError:
        return None
    real, ours = os.path.realpath(root), os.getppid() if family is None else family
    for pid in processes if known is None else _candidates(processes, known):
        words = _git_words(pid)
        command = _command(words, commands) if words else None
        if command and _works_in(pid, words, real) and not _descends(pid, ours, f"{real}/{_JOBS}"):
            return f"git {command} is at work here (process {pid})."
    return None


def _candidates(processes: list[str], known: dict[str, float]) -> list[str]:
    """Return the processes that may be git now, and update `known` (0 for those that are git)."""
    now = time.monotonic()
    for pid in known.keys() - set(processes):
        del known[pid]
    candidates = [pid for pid in processes if known.get(pid, now) > now - _YOUNG or known[pid] == 0.0]
    for pid in candidates:
        known[pid] = 0.0 if _git_words(pid) else known.get(pid) or now
    return [pid for pid in candidates if known[pid] == 0.0]


def _runs_job(pid: str, jobs: str) -> bool:
    """Return whether a process is the runner of a job: an isolated interpreter whose last argument is the job's
    folder."""
    words = _words(pid)
    return words[1:3] == ["-I", "-S"] and os.path.realpath(words[-1]).startswith(jobs + os.sep)


def _git_words(pid: str) -> list[str]:
    """Return the command line of a git process; empty for any other process, another user's, or one that has exited."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:  # noqa: PTH123 - hundreds of them, each time
            if not file.read(4).startswith(b"git"):
                return []
    except OSError:
        return []
    return _words(pid)


def _words(pid: str) -> list[str]:
    """Return the command line of a process; empty for another user's, or one that has exited."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - hundreds of them, each time
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _command(words: list[str], commands: frozenset[str] = _WRITERS) -> str | None:
    """Return the subcommand if it is among the given commands, else None."""
    rest = iter(words[1:])
    for word in rest:
        if word in _VALUED:
            next(rest, None)
        elif not word.startswith("-"):
            reads = word == "stash" and next(rest, "") in ("list", "show")
            return word if word in commands and not reads else None
    return None


def _works_in(pid: str, words: list[str], real: str) -> bool:
    try:
        places = [str(Path(f"/proc/{pid}/cwd").readlink())]
    except OSError:
        return False
    places += [os.path.realpath(word.split("=", 1)[-1]) for word in words if "/" in word and real in word]
    return any(place == real or place.startswith(real + os.sep) for place in places)


def _descends(pid: str, family: int, jobs: str) -> bool:
    """Return whether a process descends from the daemon or from one of its jobs, whose runners outlive it."""
    while pid not in ("0", "1"):
        if int(pid) == family or _runs_job(pid, jobs):
            return True
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                pid = file.read().rpartition(b")")[2].split()[1].decode()
        except (OSError, IndexError):
            return False
    return False
