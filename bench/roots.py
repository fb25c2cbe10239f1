"""The generated state roots of a run: each size is made once; with a folder given they stay there for the next run."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import generate

SMALL = 1_000
MIDDLE = 10_000


@dataclass(slots=True)
class Roots:
    """`large` is the number of sessions of the large one; `kept` the folder where roots stay, None: a scratch folder.

    A benchmark works on the root itself, so one that is kept grows by what is done to it: some runs each time.
    """

    large: int = 100_000
    kept: Path | None = None
    _scratch: Path | None = field(default=None, init=False)

    def path(self, sessions: int) -> Path:
        """The root with so many sessions."""
        return self._sessions(sessions)[0] / "root"

    def entries(self, sessions: int) -> int:
        """How many journal entries its sessions had when it was made."""
        found: int = self._sessions(sessions)[1]["entries"]
        return found

    def made(self, name: str, make: Callable[[Path], Mapping[str, Any]]) -> tuple[Path, Mapping[str, Any]]:
        """The folder with a name, and what `make(folder)` said of it when it was made."""
        if self.kept is None and self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="kheish-bench-"))
        base = self.kept or self._scratch
        assert base is not None
        folder = base / name
        if not (folder / "made.json").exists():  # its last file: one that was not finished is made again
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "made.json").write_text(json.dumps(make(folder)))
        return folder, json.loads((folder / "made.json").read_text())

    def _sessions(self, sessions: int) -> tuple[Path, Mapping[str, Any]]:
        def make(folder: Path) -> Mapping[str, Any]:
            _, entries = generate.generate(folder, sessions)
            return {"sessions": sessions, "entries": entries}

        return self.made(f"sessions-{sessions}", make)

    def close(self) -> None:
        """Remove what is not kept."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
