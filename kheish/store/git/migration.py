"""Migration of a state root from an older format: each step is its own commit, and no data is lost on the way.

A step is a function from the tree of the last commit to its changes in that tree. So an interrupted migration is
repeated, or is already done. A step must not change journals: closed segments never change, and entries of every
version stay readable (each carries its `v`). Entries that only the log has do not concern steps either.

  python -m kheish.store.git.migration ROOT     prints a line for each step
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from kheish import resources
from kheish.errors import Conflict, Invalid, KheishError
from kheish.store import files, lock, names
from kheish.store.git import hold, root_format, staging
from kheish.store.git.repo import Blob, Repo
from kheish.store.log import records

#: path → content; reads the content of the last commit, and lists the paths below a folder
Read = Callable[[str], bytes]
Below = Callable[[str], list[str]]
#: changes: path → new content; None deletes the path
Step = Callable[[Read, Below], Mapping[str, bytes | None]]

#: steps by the format that they start from. Format 1 is the first.
STEPS: Mapping[int, Step] = {}


def migrate(root: Path, steps: Mapping[int, Step] = STEPS, *, to: int = root_format.FORMAT) -> list[str]:
    """Take the steps that lead to format `to`; return the subjects of the commits.

    The root's lock must be held. Raises Invalid if a step is missing or changes a file that it must not change,
    Conflict if another git is active. The root then keeps its old format, or an intermediate one.
    """
    done = []
    _bring_along(root)
    while (current := root_format.read_format(root)).version < to:
        step = steps.get(current.version)
        if step is None:
            raise Invalid(
                f"{root} has format {current.version}. This Kheish ({resources.version()}) cannot migrate it to {to}: "
                "start it with an older Kheish first."
            )
        done.append(_take(root, current, step))
    return done


def _take(root: Path, current: root_format.Format, step: Step) -> str:
    """Make one commit on top of the branch, then update the work tree and the index."""
    _refuse_held(root)
    repo = Repo(root)
    head = repo.refs.head()
    if head is None:
        raise Invalid(f"{root} has no commit; see git log.")
    changes: dict[str, bytes | None] = {**step(_reader(repo, head), lambda folder: repo.files(head, folder))}
    if journals := [path for path in changes if path.endswith(".jsonl")]:
        raise Invalid(f"A migration must not change journals: {journals[0]}")
    about = root_format.Format(current.version + 1, current.root_id, current.incarnation)
    _refuse_edits(repo, head, changes)
    changes["format.yaml"] = root_format.format_file(about)
    blobs = {path: None if data is None else Blob(repo.blob(data)) for path, data in changes.items()}
    subject = f"format {current.version} to {about.version}"
    tree = repo.write_tree(repo.tree_of(head), blobs)
    message = f"{subject}\n\nKheish {resources.version()} brought the state root to format {about.version}.\n"
    commit = repo.commit(tree, [head], message)
    repo.sync()
    try:
        repo.refs.move(head, commit, subject)
    except hold.Held as held:
        raise Conflict(f"{held} Start again after that.") from held
    _bring_along(root)
    return subject


def _reader(repo: Repo, head: str) -> Read:
    def read(path: str) -> bytes:
        found = repo.find(head, path)
        if found is None:
            raise Invalid(f"{path} is not in the last commit.")
        return repo.content(found.id)

    return read


def _bring_along(root: Path) -> None:
    """Write a step's changes into the work tree, even if an earlier run was killed before doing that."""
    repo = Repo(root)
    head = repo.refs.head()
    here = root_format.read_format(root)
    blob = repo.find(head, "format.yaml") if head is not None else None
    format_there = records.read(repo.content(blob.id)) if blob is not None else {}
    if head is None or int(format_there.get("format", 0)) <= here.version:
        return
    _refuse_held(root)
    # format.yaml marks the migration as complete, so it is the last.
    parents = next(repo.walk(head)).parent_ids
    before = repo.tree_of(str(parents[0])) if parents else None
    changed = [one for one in repo.differences(before, repo.tree_of(head)) if parents or one.path == "format.yaml"]
    for one in sorted(changed, key=lambda one: one.path == "format.yaml"):
        if one.new is None:
            files.remove(root, one.path)
        else:
            files.atomic_write(names.within(root, one.path), repo.content(one.new), fsync=True)
    index = {one.path: Blob(one.new, one.mode) if one.new is not None else None for one in changed}
    staging.Index(root).update(index)


def _refuse_edits(repo: Repo, head: str, paths: Iterable[str]) -> None:
    """Raise Conflict if a step would overwrite a user's uncommitted changes."""
    for path in paths:
        blob = repo.find(head, path)
        content = files.there(repo.root, path)
        if content != (repo.content(blob.id) if blob is not None else None) and not hold.owned(path):
            raise Conflict(f"The migration changes {path}, which has an uncommitted edit: commit or undo it first.")


def _refuse_held(root: Path) -> None:
    if (reason := hold.check(root)) is not None:
        raise Conflict(f"The migration to a newer format must wait: {reason} Start again after that.")


def main(root: Path) -> None:
    """Migrate, and print the steps taken."""
    with lock.worker_lock(root):
        try:
            for line in migrate(root):
                sys.stdout.write(f"{line}\n")
        except KheishError as error:
            sys.exit(error.detail)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
