"""A second name for each spilled payload until a commit has it, where `git clean` and `git stash -u` do not reach."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

FOLDER = ".git/kheish/spill"


def second(root: Path, path: str) -> Path:
    """Where the second name of a payload (its path relative to the root) is."""
    return root / FOLDER / quote(path, safe="")


def keep(root: Path, path: str) -> Path:
    """Give the file at `path` its second name; returns the folder, to be synced."""
    kept = second(root, path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.link(root / path, kept)
    return kept.parent


def bring_back(root: Path, path: str) -> None:
    """Give the payload its place in the tree again, where somebody removed it."""
    kept, target = second(root, path), root / path
    if not target.exists() and kept.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(kept, target)


def exists(root: Path, path: str) -> bool:
    """Whether the payload is there under one of its names."""
    return (root / path).exists() or second(root, path).exists()


def forget(root: Path, paths: Iterable[str]) -> None:
    """A commit has them."""
    for path in paths:
        second(root, path).unlink(missing_ok=True)


def kept(root: Path) -> Iterator[str]:
    """The paths of all that have a second name."""
    folder = root / FOLDER
    if folder.is_dir():
        for path in list(folder.iterdir()):
            yield unquote(path.name)
