"""Many power cuts of one scene: most recovered by the store's own first steps, some by the real daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.crash.journals import Finding
from tests.powercut import recovery
from tests.powercut.scenes import Scene


def run(
    scene: Scene,
    seed: int,
    count: int,
    *,
    recover: Callable[[Scene, int, Path], list[Finding]],
    keep: Path | None = None,
) -> Iterator[tuple[Path, list[Finding]]]:
    """Make `count` states and have each recover; what is wrong with which. `keep`: where states that fail are kept."""
    memory = Path("/dev/shm")  # what is fsynced there costs nothing, and nothing is read from a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for cut, root in recovery.after_cuts(scene, seed, count, Path(folder)):
            before = Path(shutil.copytree(root, f"{folder}/before", symlinks=True)) if keep is not None else None
            findings = recover(scene, cut, root)
            if findings:
                yield root, findings
            if findings and before is not None and keep is not None:
                shutil.move(before, keep / f"seed-{seed}-{root.parent.name}")
            shutil.rmtree(root.parent)
            if before is not None:
                shutil.rmtree(before, ignore_errors=True)
