"""Restoring a state root from a backup: `kheish restore URL DIR`. It needs no daemon; the user's own git clones.

Everything is made beside DIR under another name, and moved there when it is complete. So an interrupted restore leaves
nothing that looks like a state root.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from kheish.errors import Damaged, Invalid, NotAStateRoot, Unavailable
from kheish.store import files
from kheish.store.git import command as git, restored, template
from kheish.store.git.hold import BRANCH
from kheish.store.log import journal, segments

_MAIN = BRANCH.removeprefix("refs/heads/")
_THERE = "refs/remotes/origin/"


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore; `damaged` are unreadable journals, as `path: reason`."""

    root: Path
    branch: str
    commit: str
    sessions: int
    damaged: list[str] = field(default_factory=list)


def restore(url: str, root: Path, *, branch: str | None = None) -> Restored:
    """Clone the branch that holds `format.yaml` (or `branch`) to `root`, configure and check it. The root starts
    paused.

    Raises Invalid if the folder is in use or the branch is ambiguous, NotAStateRoot, NewerFormat, Unavailable if git
    cannot clone.
    """
    root = root.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Invalid(f"{root} is not empty; choose a new or an empty folder.")
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}.restoring-", dir=root.parent))
    try:
        made = scratch / "root"
        _git(scratch, "clone", "--quiet", "--no-checkout", "--origin", "origin", _address(url), made)
        name = _branch(made, branch)
        _check_out(made, name)
        template.init(made)
        restored.write(made, pending=True)
        result = _look(made, root, name)
        files.sync_tree(made / ".git")
        if root.exists():
            root.rmdir()
        made.rename(root)
        files.fsync_folder(root.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return result


def _address(url: str) -> str:
    """Return the remote's address; a relative path starts at the user's current folder, not at the new folder."""
    local = Path(url).expanduser()
    return os.fspath(local.absolute()) if "://" not in url and local.exists() else url


def _branch(made: Path, named: str | None) -> str:
    """Return the branch of the remote that holds a state root: `main`, else that of its HEAD, else the only one."""
    listed = _git(made, "for-each-ref", "--format=%(refname)", _THERE).split()
    names = [ref.removeprefix(_THERE) for ref in listed if ref != f"{_THERE}HEAD"]
    holding = [name for name in names if _holds(made, name)]
    if named is not None:
        if named not in holding:
            raise NotAStateRoot(f"The branch {named!r} of the remote contains no state root (no format.yaml).")
        return named
    head = _git(made, "symbolic-ref", "--quiet", f"{_THERE}HEAD", check=False).strip().removeprefix(_THERE)
    for name in (_MAIN, head):
        if name in holding:
            return name
    if not holding:
        raise NotAStateRoot(
            f"No branch of the remote contains a state root (a format.yaml); it has {', '.join(names) or 'no branch'}."
        )
    if len(holding) > 1:
        raise Invalid(f"Several branches contain a state root: {', '.join(holding)}; choose with --branch NAME.")
    return holding[0]


def _holds(made: Path, name: str) -> bool:
    return bool(_git(made, "ls-tree", "--name-only", f"{_THERE}{name}", "format.yaml").strip())


def _check_out(made: Path, name: str) -> None:
    """Check out the daemon's branch, whatever its name in the remote, with the exact bytes of its files."""
    from kheish.store.git import repo

    head = _git(made, "symbolic-ref", "--quiet", "HEAD", check=False).strip()
    _git(made, "update-ref", BRANCH, f"{_THERE}{name}")
    _git(made, "symbolic-ref", "HEAD", BRANCH)
    if head and head != BRANCH:
        _git(made, "update-ref", "-d", head)
        _git(made, "config", "--remove-section", f"branch.{head.removeprefix('refs/heads/')}", check=False)
    upstream = {f"branch.{_MAIN}.remote": "origin", f"branch.{_MAIN}.merge": f"refs/heads/{name}"}
    if name != _MAIN:
        upstream["push.default"] = "upstream"
    repo.configure(made, {**template.settings(made), **upstream})
    _git(made, "reset", "--quiet", "--hard")


def _look(made: Path, root: Path, branch: str) -> Restored:
    """Check everything that can be checked without a daemon: that every journal is readable."""
    folders = [folder for top in ("sessions", "journals") for folder in segments.journals(made, top)]
    damaged = []
    for folder in folders:
        try:
            for _ in journal.read(made, folder):
                pass
        except Damaged as error:
            damaged.append(error.detail)
    sessions = sum(1 for _ in made.glob("sessions/*/*/session.yaml"))
    return Restored(root, branch, _git(made, "rev-parse", "HEAD").strip(), sessions, damaged)


def _git(folder: Path, *words: str | Path, check: bool = True) -> str:
    """Return git's output. git may prompt at the user's terminal (for a password, a host key)."""
    try:
        done = git.run(folder, ("-c", "core.autocrlf=false", *words), asks=True)
    except OSError as error:
        raise Unavailable(f"git cannot run: {error}") from error
    if check and done.returncode != 0:
        from kheish.store.git.remote import last_words

        raise Unavailable(f"git {words[0]} failed: {last_words(done.stderr.decode(errors='replace'))}")
    return done.stdout.decode(errors="replace")
