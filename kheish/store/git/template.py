"""Makes a state root, and opens one: `kheish init` and the first thing that `serve` does."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kheish import ids, resources
from kheish.errors import Conflict, ForeignRepository, Invalid, KheishError, NewerFormat, NotAStateRoot
from kheish.store import door, files, lock
from kheish.store.git import command as git_store
from kheish.store.git import hold
from kheish.store.log import records

if TYPE_CHECKING:
    from kheish.store.git import repo as git
    from kheish.store.git import staging

#: the format that this version writes
FORMAT = 1
#: files of the template that the daemon owns, and refreshes
_OWNED = ("README.md", ".gitignore", ".gitattributes")
_SMALL = 64 * 1024
_TEXTCONV = Path(__file__).with_name("textconv.py")


@dataclass(frozen=True, slots=True)
class Format:
    """What `format.yaml` says: the format's version, the root's id for good, and which life of it this is."""

    version: int
    root_id: str
    incarnation: str


def init(root: Path) -> None:
    """Make a state root of `root`, or bring the daemon's files of an existing one up to date.

    Raises ForeignRepository for another git repository, Invalid for a folder that holds
    something else, NewerFormat, LockHeld where a daemon serves it, Conflict where another git is at work.
    """
    fresh = not (root / "format.yaml").exists()
    if fresh:
        _refuse_foreign(root)
    else:
        open_root(root)
    from kheish.store.git import repo as git  # pygit2: 50 ms, and never in the daemon
    from kheish.store.git import staging

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
            raise Conflict(f"{held} Then run kheish init again.") from held
        if fresh:
            files.sync_tree(root / ".git")  # HEAD, config: git wrote them without
            files.durable_folder(root, upto=root.parent)


def open_root(root: Path) -> Format:
    """As `read_format`, where this Kheish can work with it as it is, or `migration` can bring it along. Raises
    NotAStateRoot, NewerFormat."""
    found = read_format(root)
    if found.version > FORMAT:
        raise NewerFormat(
            f"{root} has format {found.version}; this Kheish ({resources.version()}) knows {FORMAT}: install a newer."
        )
    return found


def read_format(root: Path) -> Format:
    """Read `format.yaml`, whatever its version. Raises NotAStateRoot."""
    path = root / "format.yaml"
    try:
        data = records.read(door.read(root, path.name, most=_SMALL))
        found = Format(int(data["format"]), str(data["root_id"]), str(data["incarnation"]))
    except (FileNotFoundError, NotADirectoryError):
        raise NotAStateRoot(f"{root} is not a state root (it has no format.yaml): kheish init {root}") from None
    except (KheishError, KeyError, TypeError, ValueError) as error:
        raise NotAStateRoot(f"{path} is not readable: {error}; git checkout format.yaml brings it back") from error
    if not (root / ".git").is_dir():
        raise NotAStateRoot(f"{root} has a format.yaml, but is no git repository.")
    return found


def ensure_token(root: Path) -> str:
    """The local admin token of `.kheish/token` (mode 0600), made where it is missing. What is in no commit (the log,
    the index) is this user's alone, like it."""
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
        raise Invalid(f"{path} holds no text; remove it, and a token is made at the next start.") from error
    token = f"kheish_{secrets.token_urlsafe(32)}"
    files.atomic_write(path, f"{token}\n".encode(), fsync=True, mode=0o600)
    return token


def settings(root: Path) -> dict[str, str]:
    """Return what `init` and `restore` set in the repository's own git configuration."""
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
    """The command that shows journals as conversations. Where this Python or this file is gone, it is `cat`: git
    takes a textconv program that cannot be run as fatal."""
    python, script = shlex.quote(sys.executable), shlex.quote(os.fspath(_TEXTCONV))
    shell = (
        f'command -v {python} >/dev/null 2>&1 && test -r {script} && {python} -S -E {script} "$0" 2>/dev/null '
        '|| cat "$0"'
    )
    return f"sh -c {shlex.quote(shell)}"


def _refuse_foreign(root: Path) -> None:
    if (root / ".git").exists():
        raise ForeignRepository(f"{root} is a git repository that is no state root; choose another folder.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise Invalid(f"{root} is not empty and is no state root; choose a new or an empty folder.")


def _write(root: Path, fresh: bool) -> list[str]:
    """Write what belongs there; return the paths. On an existing root only what is the daemon's."""
    source, schemas = resources.folder("state-template"), resources.folder("schemas")
    found = {os.fspath(path.relative_to(source)): path for path in source.rglob("*") if path.is_file()}
    if not fresh:
        found = {name: path for name, path in found.items() if name in _OWNED}
    if schemas.is_dir():
        found |= {f"schemas/{path.name}": path for path in schemas.glob("*.json")}
    contents = {name: path.read_bytes() for name, path in sorted(found.items())}
    if fresh:
        contents["format.yaml"] = format_file(Format(FORMAT, ids.new("root"), ids.new("inc")))
    for name, content in contents.items():
        target = files.inside(root, name)
        if not target.is_file() or target.read_bytes() != content:
            files.atomic_write(target, content, fsync=True)
    return list(contents)


def format_file(about: Format) -> bytes:
    """The bytes of `format.yaml`."""
    head = b"# The daemon's: which format this state root has, and which root it is.\n"
    said = {"format": about.version, "root_id": about.root_id, "incarnation": about.incarnation}
    return head + records.render(said)


def _commit(repo: git.Repo, index: staging.Index, paths: list[str]) -> None:
    """Commit `paths` on top of the branch, where that changes anything."""
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
