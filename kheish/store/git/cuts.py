"""The worker's side of a commit: read the contents of a cut, write the work tree, restore lost files, commit.

A cut names the paths that changed. Nothing is written before all of its contents are available and no other git is
active.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import FileRefused, Invalid
from kheish.store import door, files, lock, names
from kheish.store.git import authored, history, hold, staging
from kheish.store.git.commit_messages import Frame, edit_message, message_of, said
from kheish.store.git.refs import DAEMON
from kheish.store.git.repo import Blob, Repo, size_of
from kheish.store.log import journal, records, spills
from kheish.store.pipes import unpack

_EXECUTABLE = 0o100755
_PLAIN = 0o100644


@dataclass(slots=True)
class Take:
    """The contents of a tree change: path → content (None deletes the path), and the stat of files read whole."""

    contents: dict[str, bytes | None] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    stats: dict[str, os.stat_result] = field(default_factory=dict)
    #: paths whose content is not in the work tree yet
    to_write: list[str] = field(default_factory=list)
    to_remove: list[str] = field(default_factory=list)
    #: journals and spills whose work tree file does not match the cut (a size, and a digest of that much)
    short: list[str] = field(default_factory=list)
    #: files of the daemon that held foreign content
    replaced: list[str] = field(default_factory=list)


def commit(repo: Repo, frame: Frame) -> tuple[dict[str, Any], dict[str, Blob | None]]:
    """Commit a cut. Return the answer, and the changes in the branch's tree (for the index).

    The answer is `{commit, tree, n_to, paths, put_back, doubted}`. `doubted` are journals that a user's commit has
    changed, so that the work tree may differ, too. It is `{held, short}` if nothing was done: a user's git is active,
    or journals do not match the cut. Repeating a cut makes no second commit.
    """
    reason = hold.signs(repo.root)
    if reason is not None:
        return {"held": reason, "short": []}, {}
    try:
        taken = take(repo.root, frame)
        taken.short += _find_rewritten(repo, frame.get("journals", ()), taken)
        _take_away(repo, frame.get("removes", ()), taken)
        if taken.short:
            return {"held": "Files are not as the log has them.", "short": taken.short}, {}
        return _commit(repo, frame, taken, edits(repo, frame.get("edits", ())))
    except hold.Held as held:
        return {"held": str(held), "short": []}, {}


def take(root: Path, frame: Frame) -> Take:
    """Read and render the contents of a cut; write nothing. Raises Invalid for a path outside of the root."""
    taken = Take()
    seen: set[str] = set()
    for path, (size, digest) in frame.get("journals", {}).items():
        _read(root, path, taken, seen, size)
        content = taken.contents.get(path)
        if content is not None and journal.extent(content) != (size, digest):
            taken.short.append(path)
    for path in frame.get("spills", ()):
        spills.bring_back(root, path)
        _read(root, path, taken, seen, None)
    for path, content in frame.get("files", ()):
        _plan(root, path, unpack(content), taken, seen)
    for path, data in frame.get("records", ()):
        _plan(root, path, None if data is None else records.render(data), taken, seen)
    for path, data, blank in frame.get("pending", ()):
        _plan(root, path, None if data is None else records.pending_file(data, blank), taken, seen)
    for path in frame.get("deletes", ()):
        _plan(root, path, None, taken, seen)
    return taken


def _find_rewritten(repo: Repo, journals: Iterable[str], taken: Take) -> Iterator[str]:
    """Yield the journals that do not continue their content in the last commit: no commit may drop an entry, whatever
    the cut contains."""
    last = repo.refs.last()
    for path in journals:
        content, before = taken.contents.get(path), repo.find(last, path) if last is not None else None
        if content is None or before is None or not repo.has(before.id):  # git has lost it: see `mending`
            continue
        if files.blob_id(content[: size_of(repo, before.id)]) != before.id:  # a quarter of the cost of reading it
            yield path


def _take_away(repo: Repo, folders: Sequence[str], taken: Take) -> None:
    """Delete whole folders: their files in the last commit, and their other files in the work tree."""
    head = repo.refs.head()
    for folder in folders:
        there = files.contained(repo.root, folder)
        loose = [path for path, _ in door.walk(repo.root, folder)] if there.is_dir() else []
        for path in {*repo.files(head, folder), *loose}:
            taken.contents[path] = None
            taken.to_remove.append(path)


def _safe(root: Path, path: str, seen: set[str]) -> Path:
    folder = path.rpartition("/")[0]
    if not folder or folder not in seen:
        files.contained(root, path)
        seen.add(folder)
    return names.within(root, path)


def _read(root: Path, path: str, taken: Take, seen: set[str], size: int | None) -> None:
    """Read the first `size` bytes (None: all) of a file that another process writes."""
    try:
        with _safe(root, path, seen).open("rb") as file:
            data = file.read() if size is None else file.read(size)
            status = os.fstat(file.fileno())
    except FileNotFoundError:
        taken.short.append(path)
        return
    if size is not None and len(data) < size:
        taken.short.append(path)
        return
    taken.contents[path] = data
    if status.st_size == len(data):
        taken.stats[path] = status


def _plan(root: Path, path: str, content: bytes | None, taken: Take, seen: set[str]) -> None:
    _safe(root, path, seen)
    taken.contents[path] = content
    (taken.to_remove if content is None else taken.to_write).append(path)


def edits(repo: Repo, paths: Sequence[str]) -> Take:
    """Return a user's files as they are in the work tree. The daemon's files, links and ignored files are skipped."""
    taken = Take()
    for path in paths:
        if hold.owned(path) or path.startswith(".kheish/"):
            continue
        try:
            files.contained(repo.root, path)
            with door.opened(repo.root, path) as descriptor:
                status = os.fstat(descriptor)
                content = door.bounded(descriptor, door.MOST)
            if len(content) > door.MOST:
                continue
            taken.contents[path] = content
            taken.stats[path] = status
            taken.modes[path] = _EXECUTABLE if status.st_mode & 0o100 else _PLAIN
        except (FileNotFoundError, NotADirectoryError):
            taken.contents[path] = None
        except Invalid:
            continue
    return taken


def _commit(repo: Repo, frame: Frame, taken: Take, edited: Take) -> tuple[dict[str, Any], dict[str, Blob | None]]:
    head, last = repo.refs.head(), repo.refs.last()
    top, tree = head, repo.tree_of(head)
    top, tree, apart = authored.commit(repo, frame.get("authored", ()), top, tree)
    changes = {path: blob for path, blob in _store(repo, edited).items() if not _is_committed(repo, top, path, blob)}
    known = [path for path in changes if head is not None and repo.find(head, path) is not None]
    for path in staging.left_out(repo.root, known):
        del changes[path]
    foreign = lost(repo, last, head) if head != last else {}
    # The entries about an edit belong in its commit, with the user as author; the daemon's other changes do not.
    is_one = frame.get("author") == "person" and bool(changes) and not foreign
    if changes and not is_one:
        edit_tree = repo.write_tree(tree, changes)
        if edit_tree != tree:
            message = edit_message(list(changes))
            top, tree = repo.commit(edit_tree, _parents(top), message, author=repo.person()), edit_tree
    stored = _store(repo, taken)  # before the files, so that git has whatever a killed worker wrote into them
    # As late as possible: a git that finds a changed file while it starts gives up half way.
    if (reason := hold.check(repo.root)) is not None:
        raise hold.Held(reason)
    outside = _write(taken, repo, last)
    mine = {**foreign, **stored, **_store(repo, outside), **_with_stats(stored, taken)}
    new_tree = repo.write_tree(tree, {**changes, **mine})
    put_back = [path for path, blob in foreign.items() if blob is not None and path not in taken.contents]
    if new_tree != tree or top is None:
        author = repo.person() if is_one else DAEMON
        text = message_of(frame, edit_message(list(changes)) if is_one else said(frame, put_back))
        top, tree = repo.commit(new_tree, _parents(top), text, author=author), new_tree
    assert top is not None
    _restore(repo, {path: foreign[path] for path in put_back})
    changes = {**apart, **changes, **mine}
    _finish(repo, head, last, top)
    restored = [*put_back, *outside.replaced]
    answer = {
        "commit": top, "time": history.time_of(repo, top), "tree": tree, "n_to": frame["cut"]["n_to"],
        "paths": len(changes), "put_back": restored,
    }  # fmt: skip
    return {**answer, "doubted": [path for path in foreign if path.endswith(".jsonl")]}, changes


def _is_committed(repo: Repo, head: str | None, path: str, blob: Blob | None) -> bool:
    """Return whether the branch already has the file in this form: an edit names only its changes."""
    committed = repo.find(head, path) if head is not None else None
    if committed is None or blob is None:
        return committed is None and blob is None
    return (committed.id, committed.mode) == (blob.id, blob.mode)


def _parents(commit: str | None) -> list[str]:
    return [commit] if commit is not None else []


def _finish(repo: Repo, head: str | None, last: str | None, top: str) -> None:
    """Move the refs, unless a user's git has started meanwhile."""
    if top == head:
        if head != last:
            repo.refs.take(top)
        return
    repo.sync()
    reason = hold.check(repo.root)
    if reason is not None:
        raise hold.Held(reason)
    repo.refs.move(head, top, "kheish")


def _store(repo: Repo, taken: Take) -> dict[str, Blob | None]:
    return {
        path: None
        if content is None
        else Blob(repo.blob(content), taken.modes.get(path, _PLAIN), taken.stats.get(path))
        for path, content in taken.contents.items()
    }


def _with_stats(blobs: Mapping[str, Blob | None], taken: Take) -> dict[str, Blob | None]:
    """Return the blobs of the written files with their present stat."""
    written = {path: blobs[path] for path in taken.to_write}
    return {path: replace(blob, stat=taken.stats.get(path)) if blob else None for path, blob in written.items()}


def _write(taken: Take, repo: Repo, last: str | None) -> Take:
    """Update the work tree to the cut. A pending file that a user has begun to fill in stays as it is.

    Return the foreign content of the daemon's files, at the paths where it is now kept.
    """
    outside = Take()
    scratch = _scratch(repo.root)
    for path in taken.to_write:
        content, target = taken.contents[path], names.within(repo.root, path)
        assert content is not None
        if path.startswith("pending/"):
            if _filled_in(repo, last, path, content):
                continue
        elif (there := _foreign(repo, path)) is not None:
            kept = files.put_aside(repo.root, path, there, scratch=scratch)
            outside.contents[kept] = there
            outside.replaced.append(path)
        taken.stats[path] = files.atomic_write(target, content, fsync=False, scratch=scratch)
    for path in taken.to_remove:
        files.remove(repo.root, path)
    return outside


def _scratch(root: Path) -> Path:
    scratch = lock.private(root) / "tmp"
    scratch.mkdir(exist_ok=True)
    return scratch


def _foreign(repo: Repo, path: str) -> bytes | None:
    """Return foreign content of a file of the daemon that git lacks, so that it exists nowhere else."""
    there = files.there(repo.root, path)
    return there if there and not repo.has(files.blob_id(there)) else None


def _filled_in(repo: Repo, last: str | None, path: str, content: bytes) -> bool:
    """Return whether the work tree has neither the new content nor the committed content."""
    there = files.there(repo.root, path)
    if there is None:
        return False
    committed = repo.find(last, path) if last is not None else None
    return there != content and (committed is None or there != repo.content(committed.id))


def lost(repo: Repo, last: str | None, head: str | None) -> dict[str, Blob | None]:
    """Return the daemon's files of its last commit that a moved branch lacks or changed.

    An answer that a user filled in and committed stays. A journal that only grew (or began) has lost nothing. But the
    cut determines its length, so it is restored as well.
    """
    blobs: dict[str, Blob | None] = {}
    for difference in repo.differences(repo.tree_of(last), repo.tree_of(head)) if last is not None else ():
        filled_in = difference.path.startswith("pending/") and difference.new is not None
        if difference.old is None and hold.owned(difference.path) and difference.path.endswith(".jsonl"):
            blobs[difference.path] = None
        elif difference.old is not None and hold.owned(difference.path) and not filled_in:
            mode = difference.mode if difference.mode in (_PLAIN, _EXECUTABLE) else _PLAIN
            blobs[difference.path] = Blob(difference.old, mode)
    return blobs


def foreign_journals(repo: Repo) -> list[str]:
    """Return the segments that differ between the branch and the daemon's last commit, because they were committed or
    pulled."""
    return [path for path in lost(repo, repo.refs.last(), repo.refs.head()) if path.endswith(".jsonl")]


def _restore(repo: Repo, blobs: Mapping[str, Blob | None], aside: list[str] | None = None) -> list[str]:
    """Restore missing content of the work tree; return the paths written. A longer journal is left alone.

    A user's content that git lacks is kept under `conflicts/`, and named in `aside`.
    """
    written = []
    scratch = _scratch(repo.root)
    for path, blob in blobs.items():
        if blob is None or not repo.has(blob.id):  # `mending` reports objects that git has lost
            continue
        target = files.contained(repo.root, path)
        content = repo.content(blob.id)
        there = files.there(repo.root, path)
        grows = path.endswith(".jsonl") and there is not None and there.startswith(content)
        if there == content or grows or (path.startswith("pending/") and there is not None):
            continue
        if there and aside is not None and not content.startswith(there) and not repo.has(files.blob_id(there)):
            aside.append(files.put_aside(repo.root, path, there, scratch=scratch))
        files.atomic_write(target, content, fsync=True, scratch=scratch)
        written.append(path)
    return written


def put_back(repo: Repo, paths: Sequence[str], aside: list[str] | None = None) -> list[str]:
    """Restore the daemon's files in the work tree from its last commit; return those that differed."""
    last = repo.refs.last()
    if last is None:
        return []
    blobs = {path: repo.find(last, path) for path in paths if hold.owned(path)}
    return _restore(repo, blobs, aside)


def grown(repo: Repo, paths: Sequence[str]) -> list[str]:
    """Return the journals whose next line after the last commit cannot be a newer entry."""
    last, journals = history.last(repo), list[str]()
    if last is None:
        return journals
    for path in paths:
        blob = repo.find(last["commit"], path)
        if blob is None or not path.endswith(".jsonl") or not repo.has(blob.id):
            continue
        with contextlib.suppress(OSError, FileRefused), door.opened(repo.root, path) as descriptor:
            os.lseek(descriptor, size_of(repo, blob.id), os.SEEK_SET)
            line = door.bounded(descriptor, door.MOST).partition(b"\n")
            if line[1] and not _is_above(line[0], last["n"]):
                journals.append(path)
    return journals


def _is_above(line: bytes, n: int) -> bool:
    try:
        return bool(orjson.loads(line)["n"] > n)
    except (ValueError, KeyError, TypeError):
        return False
