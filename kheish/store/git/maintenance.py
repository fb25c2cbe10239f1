"""Packing with git's own tools: few files instead of many, so that git stays fast. Recent objects are never deleted.

python -m kheish.store.git.maintenance ROOT [whole]     prints {before, after, swept} as JSON
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import Unavailable
from kheish.store import lock
from kheish.store.git import command as git, hold
from kheish.store.log import outage

log = logging.getLogger(__name__)

TIMEOUT = 900.0  # seconds for one command
#: seconds after which a temporary file of git is a leftover
_LEFTOVER = 3600.0
#: unreferenced objects stay this long: a user may still need a commit that an amend or a reset left behind
_KEPT = "2.weeks.ago"
#: Loose objects become one more pack. If there are many packs, those that are not twice as large as all smaller packs
#: together are merged. So an object is repacked only as often as history doubles, however long it is. Packed objects
#: are never dropped.
_ADD = ("repack", "-q", "--write-midx")
_GROW = ("repack", "-d", "-q", "--geometric=2", "--write-midx")
#: Everything becomes a single pack, so that all versions of a file are stored as differences. A window wider than git's
#: ten finds similar Records of other runs. Unreferenced objects become loose if they are recent.
_WHOLE = ("repack", "-A", "-d", "-q", "--window=50", f"--unpack-unreachable={_KEPT}")
_REST = (
    ("pack-refs", "--all"),
    ("commit-graph", "write", "--reachable", "--no-progress"),
    ("prune", f"--expire={_KEPT}"),
)
#: seconds to wait for a clone by path
_CLONE = 60.0
#: the number of packs from which on they are merged
_MANY_PACKS = 20


def size(root: Path) -> dict[str, int]:
    """Return `{loose, packs, bytes}`: loose objects (estimated from some of the folders), packs, and bytes of packs."""
    objects = root / ".git" / "objects"
    folders = [f"{number:02x}" for number in range(0, 256, 16)]
    loose = sum(len(list((objects / name).glob("*"))) for name in folders) * 16
    packs = list((objects / "pack").glob("*.pack"))
    total = 0
    for path in packs:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # repacked meanwhile
    return {"loose": loose, "packs": len(packs), "bytes": total}


def run(root: Path, *, whole: bool = False, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Pack (`whole` repacks all of history), sweep, and return the sizes before and after.

    Raises Unavailable if git fails or takes too long.
    """
    with lock.worker_lock(root, "maintenance"):  # the process of a killed daemon may still be running
        return _run(root, whole, timeout)


def _run(root: Path, whole: bool, timeout: float) -> dict[str, Any]:
    if any(outage.damaged(root)):  # git packs nothing while an object is unreadable
        from kheish.store.git import mending

        mending.repair(root)
    before = size(root)
    if whole or before["packs"] >= _MANY_PACKS:
        _wait_for_clones(root, {})
        _git(root, _WHOLE if whole else _GROW, timeout)
    else:
        _git(root, _ADD, timeout)
        _remove_packed(root, timeout)
    for step in _REST:
        _git(root, step, timeout)
    return {"before": before, "after": size(root), "swept": sweep(root)}


def _remove_packed(root: Path, timeout: float) -> None:
    """Remove the loose objects that are in a pack, as `git prune-packed` does, but never while a process clones by
    path: git then copies file by file, and gives up if a file is missing."""
    listed = _git(root, ["prune-packed", "--dry-run"], timeout)
    paths = sorted(line.removeprefix("rm -f ") for line in listed.splitlines() if line.startswith("rm -f "))
    known: dict[str, float] = {}
    for folder, inside in itertools.groupby(paths, lambda path: path.rpartition("/")[0]):
        _wait_for_clones(root, known)
        for path in inside:
            (root / path).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            (root / folder).rmdir()


def _wait_for_clones(root: Path, known: dict[str, float]) -> None:
    patience = time.monotonic() + _CLONE
    while hold.cloned(root, known) and time.monotonic() < patience:
        time.sleep(0.05)


def sweep(root: Path, *, older: float = _LEFTOVER) -> int:
    """Remove temporary files that killed processes left among the objects; return their number."""
    count = 0
    objects, before = root / ".git" / "objects", time.time() - older
    for pattern in ("[0-9a-f][0-9a-f]/tmp_obj_*", "tmp_object_git2_*", "pack/tmp_*", "pack/pack_git2_*"):
        for path in objects.glob(pattern):
            try:
                if path.stat().st_mtime < before:
                    path.unlink()
                    count += 1
            except FileNotFoundError:
                continue
    return count


def _git(root: Path, words: Sequence[str], timeout: float) -> str:
    with git.popen(root, ("-c", "core.fsync=all", *words), stderr=subprocess.PIPE) as process:
        try:
            printed, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"git {words[0]} took longer than {timeout:g} s and was stopped.") from error
        finally:
            if process.returncode is None:  # with its children, which do the packing
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise Unavailable(f"git {words[0]} failed: {errors.decode(errors='replace').strip()}")
    return printed.decode(errors="replace")


if __name__ == "__main__":
    os.nice(10)  # processes that answer requests go first
    try:
        sizes = run(Path(sys.argv[1]), whole=sys.argv[2:] == ["whole"])
    except Unavailable as error:
        sys.exit(error.detail)
    sys.stdout.buffer.write(orjson.dumps(sizes))
