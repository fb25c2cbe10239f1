"""Packing by git's own tools: few files instead of many, so that git stays fast. Nothing young is ever thrown away.

python -m kheish.store.maintenance ROOT     prints {before, after, swept} as JSON
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from kheish.errors import Unavailable
from kheish.store import outage

log = logging.getLogger(__name__)

TIMEOUT = 900.0  # seconds for one command
#: seconds after which a temporary file of git is a leftover
_LEFTOVER = 3600.0
_STEPS = (
    ("repack", "-d", "-q", "--write-midx"),
    ("pack-refs", "--all"),
    ("commit-graph", "write", "--reachable", "--no-progress"),
    ("prune", "--expire=2.weeks.ago"),
)
#: packs from which on they become one
_MANY_PACKS = 20


def size(root: Path) -> dict[str, int]:
    """`{loose, packs, bytes}`: loose objects (counted in a part of the folders), packs, and bytes of packs."""
    objects = root / ".git" / "objects"
    folders = [f"{number:02x}" for number in range(0, 256, 16)]
    loose = sum(len(list((objects / name).glob("*"))) for name in folders) * 16
    packs = list((objects / "pack").glob("*.pack"))
    total = 0
    for path in packs:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # packed anew meanwhile
    return {"loose": loose, "packs": len(packs), "bytes": total}


def run(root: Path, *, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Pack, sweep, and say what there was and is. Raises Unavailable where git fails or takes too long."""
    if outage.put_aside(root):  # git packs nothing where an object cannot be read
        from kheish.store import mending, staging

        mending.mend(root, staging.Index(root))
    before = size(root)
    for step in _STEPS:
        words = [*step, "-a"] if step[0] == "repack" and before["packs"] >= _MANY_PACKS else [*step]
        _git(root, words, timeout)
    return {"before": before, "after": size(root), "swept": sweep(root)}


def sweep(root: Path, *, older: float = _LEFTOVER) -> int:
    """Remove temporary files that killed processes left among the objects; returns how many."""
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


def _git(root: Path, words: list[str], timeout: float) -> None:
    command = ["git", "-C", os.fspath(root), "-c", "core.fsync=all", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"git {words[0]} took longer than {timeout:g} s, and was ended.") from error
    if done.returncode != 0:
        raise Unavailable(f"git {words[0]} failed: {done.stderr.strip()}")


if __name__ == "__main__":
    try:
        found = run(Path(sys.argv[1]))
    except Unavailable as error:
        sys.exit(error.detail)
    sys.stdout.buffer.write(orjson.dumps(found))
