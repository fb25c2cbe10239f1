"""Brings a state root of an older format to this one: each step is a commit of its own, and nothing is lost on the way.

A step is a function from the tree of the last commit to what changes in it, so that a migration that was cut off is
done again, or is done. Journals are not its to change: closed segments never change, and entries of every version stay
readable (each says its `v`). What only the log has is of no step's concern either: it is entries.

python -m kheish.store.git.migration ROOT     prints what was done, a line for each step
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from kheish import resources
from kheish.errors import Conflict, Invalid, KheishError
from kheish.store import files, lock, names
from kheish.store.git import hold, staging, template
from kheish.store.git.repo import Blob, Repo
from kheish.store.log import records

#: path → content; it reads what the last commit has, and lists the paths below a folder
Read = Callable[[str], bytes]
Below = Callable[[str], list[str]]
#: what changes: path → new content, None where it goes away
Step = Callable[[Read, Below], Mapping[str, bytes | None]]

#: by the format that it leads away from. Format 1 is the first: there is nothing older.
STEPS: Mapping[int, Step] = {}


def migrate(root: Path, steps: Mapping[int, Step] = STEPS, *, to: int = template.FORMAT) -> list[str]:
    """Take the steps that lead to format `to`; returns the subjects of the commits.

    With the root's lock held. Raises Invalid where a step is missing or changes what is not its to change, Conflict
    where another git is at work: the root is then of the format that it was, or of one on the way.
    """
    done = []
    _bring_along(root)
    while (found := template.read_format(root)).version < to:
        step = steps.get(found.version)
        if step is None:
            raise Invalid(
                f"{root} has format {found.version}, and this Kheish ({resources.version()}) cannot bring it to {to}: "
                "start it with an older Kheish first."
            )
        done.append(_take(root, found, step))
    return done


def _take(root: Path, found: template.Format, step: Step) -> str:
    """One commit on top of the branch; then the work tree and the index are brought to it."""
    _refuse_held(root)
    repo = Repo(root)
    head = repo.refs.head()
    if head is None:
        raise Invalid(f"{root} has no commit; git log tells more.")
    changes: dict[str, bytes | None] = {**step(_reader(repo, head), lambda folder: repo.files(head, folder))}
    if journals := [path for path in changes if path.endswith(".jsonl")]:
        raise Invalid(f"A migration does not change journals: {journals[0]}")
    about = template.Format(found.version + 1, found.root_id, found.incarnation)
    _refuse_edits(repo, head, changes)
    changes["format.yaml"] = template.format_file(about)
    blobs = {path: None if data is None else Blob(repo.blob(data)) for path, data in changes.items()}
    said = f"format {found.version} to {about.version}"
    tree = repo.write_tree(repo.tree_of(head), blobs)
    message = f"{said}\n\nKheish {resources.version()} brought the state root to format {about.version}.\n"
    commit = repo.commit(tree, [head], message)
    repo.sync()
    try:
        repo.refs.move(head, commit, said)
    except hold.Held as held:
        raise Conflict(f"{held} Then start again.") from held
    _bring_along(root)
    return said


def _reader(repo: Repo, head: str) -> Read:
    def read(path: str) -> bytes:
        found = repo.find(head, path)
        if found is None:
            raise Invalid(f"{path} is not in the last commit.")
        return repo.content(found.id)

    return read


def _bring_along(root: Path) -> None:
    """Write what a step changed into the work tree, also where the one before was killed before it came to that."""
    repo = Repo(root)
    head = repo.refs.head()
    here = template.read_format(root)
    found = repo.find(head, "format.yaml") if head is not None else None
    there = records.read(repo.content(found.id)) if found is not None else {}
    if head is None or int(there.get("format", 0)) <= here.version:
        return
    _refuse_held(root)
    # format.yaml says that all is done, so it is the last.
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
    """What a person has not committed is not overwritten."""
    for path in paths:
        found = repo.find(head, path)
        content = files.there(repo.root, path)
        if content != (repo.content(found.id) if found is not None else None) and not hold.owned(path):
            raise Conflict(
                f"The migration changes {path}, which has an edit that no commit has: commit or undo it first."
            )


def _refuse_held(root: Path) -> None:
    if (reason := hold.check(root)) is not None:
        raise Conflict(f"The state root is to be brought to a newer format, which waits: {reason} Then start again.")


def main(root: Path) -> None:
    """Migrate, and say what was done."""
    with lock.worker_lock(root):
        try:
            for line in migrate(root):
                sys.stdout.write(f"{line}\n")
        except KheishError as error:
            sys.exit(error.detail)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
