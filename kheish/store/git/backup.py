"""Joining what another clone pushed: planned and made by tree in the git worker, one commit with two parents.

Only people's files are taken from there, and only where nobody changed them here; nothing is overwritten. Whoever may
push to a remote may not for that start commands here, or read secrets: what would let them is for a person to pull.
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
#: people's, but what stands there is a right, a key that secrets are encrypted for, or work: not taken unseen
_BY_HAND = frozenset(("kheish.yaml", "permissions.yaml", "secrets", "inbox"))
#: by these the daemon knows what is committed: numbers of somebody else's would have it skip its own
_EVENTS = "Kheish-Events:"
_FORMAT = "format.yaml"


@dataclass(slots=True)
class Plan:
    """What joining a commit would do: `changes` is path → blob to take (None: the path goes away).

    `verdict`: join | taken_over | diverged; `why` says in one sentence what is in the way.
    """

    verdict: str
    why: str = ""
    changes: dict[str, Blob | None] = field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        """The plan as it goes through the pipe."""
        ids = {path: blob.id if blob else None for path, blob in self.changes.items()}
        return {"verdict": self.verdict, "why": self.why, "changes": ids}


def tip(repo: Repo) -> dict[str, str | None]:
    """What to push: the branch, or the daemon's last commit where somebody moved the branch off it."""
    head, last = repo.refs.head(), repo.refs.last()
    if head is None or last is None or merge_base(repo, last, head) == last:
        return {"commit": head}
    return {"commit": last}


def plan(repo: Repo, *, theirs: str, known: str | None = None, is_safe: bool = True) -> Plan:
    """How `theirs` (a revision that was fetched) joins the branch. `is_safe`: rights, keys and work do not.

    `known` is what this root pushed last: where the remote still has that, all of it is known here, and only history
    was rewritten here since; then nothing is taken. Raises NotFound.
    """
    head = repo.refs.head()
    there = str(next(repo.walk(theirs)).id)
    assert head is not None
    if there == known:
        return Plan("join")
    base = merge_base(repo, head, there)
    ours, other = _format(repo, head), _format(repo, there)
    if other is None or ours is None or base is None or other.get("root_id") != ours.get("root_id"):
        return Plan("diverged", "It holds another state root, or one whose history shares nothing with this one.")
    if other.get("incarnation") not in (ours.get("incarnation"), (_format(repo, base) or {}).get("incarnation")):
        return Plan("taken_over", f"Its incarnation is {other.get('incarnation')}, not {ours.get('incarnation')}.")
    new = beyond(repo, there, head, *([known] if known else []))
    commits = list(islice((_EVENTS.encode() in commit.raw_message for commit in new), MOST_COMMITS + 1))
    if len(commits) > MOST_COMMITS:
        return Plan("diverged", f"It brings more than {MOST_COMMITS} commits at once.")
    if any(commits):
        return Plan("diverged", f"It has commits that say which events they hold ({_EVENTS}), and are not from here.")
    changes: dict[str, Blob | None] = {}
    daemons, clashes, unseen = [], [], []
    before, after = repo.tree_of(base), repo.tree_of(there)
    if _is_beyond(repo, before, after, MOST_FILES):
        return Plan("diverged", f"It changes more than {MOST_FILES} files and folders at once.")
    for one in repo.differences(before, after):
        mine = repo.find(head, one.path)
        if is_safe and _is_made_executable(one, mine) and not hold.owned(one.path):
            unseen.append(f"{one.path} (executable)")
            continue
        if (mine.id if mine else None) == one.new:
            continue
        if hold.owned(one.path) or one.path.startswith(".kheish/"):
            daemons.append(one.path)
        elif (mine.id if mine else None) != one.old or not _fits(repo, head, one):
            clashes.append(one.path)
        elif _is_for_people(one.path, is_safe=is_safe):
            unseen.append(one.path)
        else:
            changes[one.path] = Blob(one.new, one.mode) if one.new is not None else None
    if daemons:
        return Plan("diverged", f"It has other versions of the daemon's own files: {_named(daemons)}.")
    if clashes:
        return Plan("diverged", f"Changed here and there: {_named(clashes)}.")
    if unseen:
        return Plan("diverged", f"It brings rights, keys or work, for a person to look at and pull: {_named(unseen)}.")
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
    """Commit the branch with `expected` (what was planned and validated) and `theirs` as its second parent.

    The answer is `{commit, paths}`; `{held}` where a person's git is at work; `{again}` where the plan is another by
    now; `{dirty: paths}` where the work tree has uncommitted changes in what is to be taken. The work tree comes
    first: a kill in between leaves an edit, and the next try finds that it is the same.
    """
    reason = hold.check(repo.root)
    if reason is not None:
        return {"held": reason}, {}
    found = plan(repo, theirs=theirs, known=known, is_safe=is_safe)
    if found.view() != {"verdict": "join", "why": "", "changes": dict(expected)}:
        return {"again": True}, {}
    head = repo.refs.head()
    dirty = [path for path in found.changes if not _is_clean(repo, head, path, found.changes[path])]
    if dirty:
        return {"dirty": dirty}, {}
    changes = {path: _write(repo, path, blob) for path, blob in found.changes.items()}
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
    found = repo.find(commit, _FORMAT)
    try:
        return dict(records.read(repo.content(found.id))) if found is not None else None
    except (KheishError, TypeError, ValueError):
        return None


def _is_beyond(repo: Repo, old: str | None, new: str | None, most: int) -> bool:
    """Return whether two trees differ in more than `most` files and folders, or too deep: a small tree that names
    another a million times would take all time and memory of whoever lists it."""
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


def _fits(repo: Repo, head: str, one: Difference) -> bool:
    """A plain file whose path is neither a folder here, nor below a file or a link."""
    if one.new is None:
        return True
    try:
        files.inside(repo.root, one.path)
    except (Invalid, OSError):  # a name that is longer than there can be, for one
        return False
    folders = one.path.split("/")[:-1]
    above = ["/".join(folders[: depth + 1]) for depth in range(len(folders))]
    is_below_file = any(repo.find(head, folder) is not None for folder in above)
    return one.mode in _PLAIN and not is_below_file and not (repo.root / one.path).is_dir()


def _is_for_people(path: str, *, is_safe: bool) -> bool:
    """Rights, keys and work, unless these may be taken; settings of git itself (`.gitattributes`, and what some systems
    take for `.git`); names that do not show what they are."""
    parts = path.casefold().split("/")
    if is_safe and parts[0] in _BY_HAND:
        return True
    return not (path.isprintable() and names.is_text(path)) or any(part.startswith((".git", "git~")) for part in parts)


def _is_made_executable(one: Difference, mine: Blob | None) -> bool:
    return one.new is not None and one.mode == _EXECUTABLE and (mine is None or mine.mode != _EXECUTABLE)


def _is_clean(repo: Repo, head: str | None, path: str, wanted: Blob | None) -> bool:
    """Whether the work tree has the branch's version, or already what is to be taken."""
    source = names.within(repo.root, path)
    content = files.there(repo.root, path)
    there = files.blob_id(content) if content is not None else None
    if there is None and (source.exists() or source.is_symlink()):
        return False
    mine = repo.find(head, path) if head is not None else None
    return there in (mine.id if mine else None, wanted.id if wanted else None)


def _write(repo: Repo, path: str, blob: Blob | None) -> Blob | None:
    if blob is None:
        files.remove(repo.root, path)
        return None
    scratch = lock.private(repo.root) / "tmp"
    scratch.mkdir(exist_ok=True)
    mode = stat.S_IMODE(blob.mode)
    found = files.atomic_write(
        names.within(repo.root, path), repo.content(blob.id), fsync=True, mode=mode, scratch=scratch
    )
    return Blob(blob.id, blob.mode, found)


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    shown = (path if path.isprintable() else ascii(path) for path in sorted(paths)[:_NAMED])
    return f"{', '.join(shown)}{more}"
