"""The generated state roots of a run: each size is made once; with a folder given they stay there for the next run."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

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
        return self._folder(sessions) / "root"

    def entries(self, sessions: int) -> int:
        """How many journal entries its sessions had when it was made."""
        found: int = json.loads((self._folder(sessions) / "made.json").read_text())["entries"]
        return found

    def _folder(self, sessions: int) -> Path:
        if self.kept is None and self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="kheish-bench-"))
        base = self.kept or self._scratch
        assert base is not None
        folder = base / f"sessions-{sessions}"
        if not (folder / "made.json").exists():  # its last file: one that was not finished is made again
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _, entries = generate.generate(folder, sessions)
            (folder / "made.json").write_text(json.dumps({"sessions": sessions, "entries": entries}))
        return folder

    def close(self) -> None:
        """Remove what is not kept."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
