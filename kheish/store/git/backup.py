"""Merging of commits that another clone pushed: planned and made by tree in the git worker, as a commit with two
parents.

Only users' files are taken from there, and only if they are unchanged here; nothing is overwritten. The right to push
to a remote does not imply the right to run commands here or to read secrets. Changes that would grant it must be pulled
by a user.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kheish.errors import Invalid, KheishError
from kheish.store import files, lock, names
from kheish.store.bounded import MOST_BYTES, MOST_COMMITS, MOST_DEPTH, MOST_FILES, listing
from kheish.store.git import hold
from kheish.store.git.repo import Blob, Difference, Repo, beyond, merge_base, size_of
from kheish.store.log import records

_EXECUTABLE = 0o100755
_PLAIN = (0o100644, _EXECUTABLE)
_NAMED = 5
#: users' files that hold rights, keys that secrets are encrypted for, or work: not taken without review
_BY_HAND = frozenset(
    ("kheish.yaml", "permissions.yaml", "instructions.md", "secrets", "inbox", "memory", "schedules", "channels")
)
#: trailers that tell the daemon what is committed: foreign event numbers would make it skip its own
_EVENTS = "Kheish-Events:"
_FORMAT = "format.yaml"


@dataclass(slots=True)
class Plan:
    """The plan for joining a commit. `changes` maps each path to the blob to take (None deletes the path).

    `verdict` is join, taken_over or diverged; `why` gives the obstacle in one sentence.
    """

    verdict: str
    why: str = ""
    changes: dict[str, Blob | None] = field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        """Return the plan as it is sent through the pipe."""
        ids = {path: blob.id if blob else None for path, blob in self.changes.items()}
        return {"verdict": self.verdict, "why": self.why, "changes": ids}


def tip(repo: Repo) -> dict[str, str | None]:
    """Return the commit to push: the branch, or the daemon's last commit if a user moved the branch off it."""
    head, last = repo.refs.head(), repo.refs.last()
    if head is None or last is None or merge_base(repo, last, head) == last:
        return {"commit": head}
    return {"commit": last}


def plan(repo: Repo, *, theirs: str, known: str | None = None, is_safe: bool = True) -> Plan:
    """Return the plan to join `theirs` (a fetched revision) to the branch. `is_safe` excludes rights, keys and work.

    `known` is the commit that this root pushed last. If the remote still has it, everything there is known here, and
    only history was rewritten here since; then nothing is taken. Raises NotFound.
    """
    head = repo.refs.head()
    there = str(next(repo.walk(theirs)).id)
    assert head is not None
    if there == known:
        return Plan("join")
    base = merge_base(repo, head, there)
    ours, other = _format(repo, head), _format(repo, there)
    if other is None or ours is None or base is None or other.get("root_id") != ours.get("root_id"):
        return Plan("diverged", "It contains another state root, or one without common history.")
    if other.get("incarnation") not in (ours.get("incarnation"), (_format(repo, base) or {}).get("incarnation")):
        return Plan("taken_over", f"Its incarnation is {other.get('incarnation')}, not {ours.get('incarnation')}.")
    new = beyond(repo, there, head, *([known] if known else []))
    commits = list(islice((_EVENTS.encode() in commit.raw_message for commit in new), MOST_COMMITS + 1))
    if len(commits) > MOST_COMMITS:
        return Plan("diverged", f"It brings more than {MOST_COMMITS} commits at once.")
    if any(commits):
        return Plan("diverged", f"It has commits with the trailer {_EVENTS[:-1]} that this daemon did not make.")
    changes: dict[str, Blob | None] = {}
    daemons, clashes, unseen = [], [], []
    before, after = repo.tree_of(base), repo.tree_of(there)
    if _is_beyond(repo, before, after, MOST_FILES):
        return Plan("diverged", f"It changes more than {MOST_FILES} files and folders at once.")
    for difference in repo.differences(before, after):
        mine = repo.find(head, difference.path)
        if is_safe and _is_made_executable(difference, mine) and not hold.owned(difference.path):
            unseen.append(f"{difference.path} (executable)")
            continue
        if (mine.id if mine else None) == difference.new:
            continue
        if hold.owned(difference.path) or difference.path.startswith(".kheish/"):
            daemons.append(difference.path)
        elif (mine.id if mine else None) != difference.old or not _fits(repo, head, difference):
            clashes.append(difference.path)
        elif _is_for_people(difference.path, is_safe=is_safe):
            unseen.append(difference.path)
        else:
            changes[difference.path] = Blob(difference.new, difference.mode) if difference.new is not None else None
    if daemons:
        return Plan("diverged", f"It has other versions of the daemon's own files: {_named(daemons)}.")
    if clashes:
        return Plan("diverged", f"Changed here and there: {_named(clashes)}.")
    if unseen:
        why = f"It changes permissions, keys or work; a person must review and pull it: {_named(unseen)}."
        return Plan("diverged", why)
    if sum(size_of(repo, blob.id) for blob in changes.values() if blob is not None) > MOST_BYTES:
        return Plan("diverged", f"It brings more than {MOST_BYTES // 1024**2} MiB at once.")
    return Plan("join", changes=changes)


def join(
    repo: Repo,
    *,
    theirs: str,
    known: str | None,
    expected: Mapping[str, str | None],
    remote: str,
    is_safe: bool = True,
) -> tuple[dict[str, Any], dict[str, Blob | None]]:
    """Commit the branch with the changes in `expected` (as planned and validated), and with `theirs` as its second
    parent.

    The answer is `{commit, paths}`; `{held}` if a user's git is active; `{again}` if the plan has changed meanwhile;
    `{dirty: paths}` if the work tree has uncommitted changes in these paths. The work tree is written first: a kill in
    between leaves an edit, and the next attempt finds it identical.
    """
    reason = hold.check(repo.root)
    if reason is not None:
        return {"held": reason}, {}
    current = plan(repo, theirs=theirs, known=known, is_safe=is_safe)
    if current.view() != {"verdict": "join", "why": "", "changes": dict(expected)}:
        return {"again": True}, {}
    head = repo.refs.head()
    dirty = [path for path in current.changes if not _is_clean(repo, head, path, current.changes[path])]
    if dirty:
        return {"dirty": dirty}, {}
    changes = {path: _write(repo, path, blob) for path, blob in current.changes.items()}
    there = str(next(repo.walk(theirs)).id)
    assert head is not None
    message = f"merge from {remote}: {_named(list(changes))}\n" if changes else f"merge from {remote}\n"
    commit = repo.commit(repo.write_tree(repo.tree_of(head), changes), [head, there], message)
    repo.sync()
    try:
        if (reason := hold.check(repo.root)) is not None:
            raise hold.Held(reason)
        repo.refs.move(head, commit, "kheish: merge")
    except hold.Held as held:
        return {"held": str(held)}, {}
    return {"commit": commit, "paths": list(changes)}, changes


def _format(repo: Repo, commit: str) -> dict[str, Any] | None:
    blob = repo.find(commit, _FORMAT)
    try:
        return dict(records.read(repo.content(blob.id))) if blob is not None else None
    except (KheishError, TypeError, ValueError):
        return None


def _is_beyond(repo: Repo, old: str | None, new: str | None, most: int) -> bool:
    """Return whether two trees differ in more than `most` files and folders, or too deep. A small tree that names
    another a million times would exhaust the time and memory of any process that lists it."""
    left, pairs = most, [(old, new, 1)]
    while pairs:
        *ids, depth = pairs.pop()
        if depth > MOST_DEPTH:
            return True
        try:
            one, other = (_entries(repo, id) for id in ids)
        except Invalid:
            return True
        for name in one.keys() | other.keys():
            mine, theirs = one.get(name), other.get(name)
            if mine != theirs:
                left -= 1
                trees = [found[1] if found is not None and found[0] == "tree" else None for found in (mine, theirs)]
                if any(trees):
                    pairs.append((trees[0], trees[1], depth + 1))
            if left < 0:
                return True
    return False


def _entries(repo: Repo, tree: str | None) -> dict[str, tuple[str, str]]:
    return {name: (kind, id) for name, kind, id in listing(repo, tree)} if tree is not None else {}


def _fits(repo: Repo, head: str, difference: Difference) -> bool:
    """Return whether the difference is a plain file whose path is neither a folder here, nor below a file or a link."""
    if difference.new is None:
        return True
    try:
        files.inside(repo.root, difference.path)
    except (Invalid, OSError):  # for instance a name that is longer than the file system allows
        return False
    folders = difference.path.split("/")[:-1]
    above = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
    is_below_file = any(repo.find(head, folder) is not None for folder in above)
    return difference.mode in _PLAIN and not is_below_file and not (repo.root / difference.path).is_dir()


def _is_for_people(path: str, *, is_safe: bool) -> bool:
    """Return whether only a user may take the path. This holds for rights, keys and work if `is_safe`, for settings
    of git itself (`.gitattributes`, and names that some systems take for `.git`), and for names with invisible
    characters."""
    parts = path.casefold().split("/")
    if is_safe and parts[0] in _BY_HAND:
        return True
    return not (path.isprintable() and names.is_text(path)) or any(part.startswith((".git", "git~")) for part in parts)


def _is_made_executable(difference: Difference, mine: Blob | None) -> bool:
    return difference.new is not None and difference.mode == _EXECUTABLE and (mine is None or mine.mode != _EXECUTABLE)


def _is_clean(repo: Repo, head: str | None, path: str, expected: Blob | None) -> bool:
    """Return whether the work tree has the branch's version, or already the version to take."""
    source = names.within(repo.root, path)
    content = files.there(repo.root, path)
    there = files.blob_id(content) if content is not None else None
    if there is None and (source.exists() or source.is_symlink()):
        return False
    mine = repo.find(head, path) if head is not None else None
    return there in (mine.id if mine else None, expected.id if expected else None)


def _write(repo: Repo, path: str, blob: Blob | None) -> Blob | None:
    if blob is None:
        files.remove(repo.root, path)
        return None
    scratch = lock.private(repo.root) / "tmp"
    scratch.mkdir(exist_ok=True)
    mode = stat.S_IMODE(blob.mode)
    status = files.atomic_write(
        names.within(repo.root, path), repo.content(blob.id), fsync=True, mode=mode, scratch=scratch
    )
    return Blob(blob.id, blob.mode, status)


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    shown = (path if path.isprintable() else ascii(path) for path in sorted(paths)[:_NAMED])
    return f"{', '.join(shown)}{more}"
