"""Creating and opening a state root: `kheish init`, and the first step of `serve`."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kheish import ids, resources
from kheish.errors import Conflict, ForeignRepository, Invalid
from kheish.store import door, files, lock
from kheish.store.git import command as git_store, hold, root_format

if TYPE_CHECKING:
    from kheish.store.git import repo as git, staging

#: files of the template that the daemon owns, and refreshes
_OWNED = ("README.md", ".gitignore", ".gitattributes")
_SMALL = 64 * 1024
_TEXTCONV = Path(__file__).with_name("textconv.py")


def init(root: Path) -> None:
    """Make `root` a state root, or update the daemon's files of an existing state root.

    Raises ForeignRepository for another git repository, Invalid for a folder with other content, NewerFormat, LockHeld
    if a daemon serves it, Conflict if another git is active.
    """
    fresh = not (root / "format.yaml").exists()
    if fresh:
        _refuse_foreign(root)
    else:
        root_format.open_root(root)
    from kheish.store.git import (
        repo as git,  # pygit2: 50 ms, and never in the daemon
        staging,
    )

    root.mkdir(parents=True, exist_ok=True)
    git.init(root)
    with lock.RootLock(root):
        git.configure(root, settings(root))
        if not fresh:
            from kheish.store.git import migration

            migration.migrate(root)
        written = _write(root, fresh)
        ensure_token(root)
        try:
            _commit(git.Repo(root), staging.Index(root), written)
        except hold.Held as held:
            raise Conflict(f"{held} Run kheish init again after that.") from held
        if fresh:
            files.sync_tree(root / ".git")  # HEAD, config: git wrote them without fsync
            files.durable_folder(root, upto=root.parent)


def ensure_token(root: Path) -> str:
    """Return the local admin token of `.kheish/token` (mode 0600), creating it if missing. Uncommitted files (the log,
    the index) are as private to this user as the token."""
    for folder in (root / ".kheish", lock.private(root)):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    path = root / ".kheish" / "token"
    try:
        token = door.read_own(path, most=_SMALL)[0].decode().strip()
        if token:
            path.chmod(0o600)
            return token
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not text; remove it, and the next start creates a new token.") from error
    token = f"kheish_{secrets.token_urlsafe(32)}"
    files.atomic_write(path, f"{token}\n".encode(), fsync=True, mode=0o600)
    return token


def settings(root: Path) -> dict[str, str]:
    """Return the settings that `init` and `restore` make in the repository's own git configuration."""
    # git commits to its cache of conversations, so `git log -p` would be fatal without an identity
    named = all(git_store.identity(root))
    return {
        "push.followTags": "true",
        "push.autoSetupRemote": "true",
        "gc.auto": "0",
        "rebase.autoStash": "true",
        "pull.rebase": "false",
        "core.autocrlf": "false",
        "merge.kheish.name": "keep the daemon's side",
        "merge.kheish.driver": "true",
        "diff.kheish-journal.textconv": _textconv(),
        "diff.kheish-journal.cachetextconv": "true" if named else "false",
    }


def _textconv() -> str:
    """Return the command that shows journals as conversations. It falls back to `cat` if this Python or this file is
    gone, since git fails on a textconv program that cannot run."""
    python, script = shlex.quote(sys.executable), shlex.quote(os.fspath(_TEXTCONV))
    shell = (
        f'command -v {python} >/dev/null 2>&1 && test -r {script} && {python} -S -E {script} "$0" 2>/dev/null '
        '|| cat "$0"'
    )
    return f"sh -c {shlex.quote(shell)}"


def _refuse_foreign(root: Path) -> None:
    if (root / ".git").exists():
        raise ForeignRepository(f"{root} is a git repository but not a state root; choose another folder.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Invalid(f"{root} is neither empty nor a state root; choose a new or an empty folder.")


def _write(root: Path, fresh: bool) -> list[str]:
    """Write the files of the template; return their paths. On an existing root only the daemon's files are written."""
    source, schemas = resources.folder("state-template"), resources.folder("schemas")
    sources = {os.fspath(path.relative_to(source)): path for path in source.rglob("*") if path.is_file()}
    if not fresh:
        sources = {name: path for name, path in sources.items() if name in _OWNED}
    if schemas.is_dir():
        sources |= {f"schemas/{path.name}": path for path in schemas.glob("*.json")}
    contents = {name: path.read_bytes() for name, path in sorted(sources.items())}
    if fresh:
        contents["format.yaml"] = root_format.format_file(
            root_format.Format(root_format.FORMAT, ids.new("root"), ids.new("inc"))
        )
    for name, content in contents.items():
        target = files.inside(root, name)
        if not target.is_file() or target.read_bytes() != content:
            files.atomic_write(target, content, fsync=True)
    return list(contents)


def _commit(repo: git.Repo, index: staging.Index, paths: list[str]) -> None:
    """Commit `paths` on top of the branch if that changes anything."""
    from kheish.store.git.refs import DAEMON
    from kheish.store.git.repo import Blob

    head = repo.refs.head()
    if head is not None and (reason := hold.locks(repo.root) or hold.branch(repo.root)):
        raise hold.Held(reason)
    changes = {path: Blob(repo.blob((repo.root / path).read_bytes()), stat=(repo.root / path).stat()) for path in paths}
    before = repo.tree_of(head)
    tree = repo.write_tree(before, changes)
    if tree == before:
        return
    said = "new state root" if head is None else "files of the daemon brought up to date"
    commit = repo.commit(
        tree, [head] if head is not None else [], f"{said}\n", author=repo.person() if head is None else DAEMON
    )
    repo.sync()
    repo.refs.move(head, commit, said)
    index.update(changes)
