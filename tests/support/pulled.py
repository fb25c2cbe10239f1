"""A daemon with a remote, and somebody else's clone that may push there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kheish.errors import BackupDiverged
from tests.support.daemon import Daemon, git


@dataclass
class Shared:
    """What `there` pushes, the daemon finds at its next backup."""

    daemon: Daemon
    there: Path

    @classmethod
    @contextlib.contextmanager
    def fresh(cls, folder: Path, **made: Any) -> Iterator[Shared]:
        made["config"] = {"backup": {"remote": "origin"}, **made.get("config", {})}
        daemon = Daemon.make(folder, **made)
        git(folder, "init", "-q", "--bare", "-b", "main", "remote.git")
        git(daemon.root, "remote", "add", "origin", f"file://{folder}/remote.git")
        try:
            daemon.start()
            daemon.client.backup()
            git(folder, "clone", "-q", "-b", "main", "remote.git", "there")
            yield cls(daemon, folder / "there")
        finally:
            daemon.end()

    def fetch(self) -> None:
        """Bring the clone to what the daemon has now."""
        self.daemon.quiet()
        self.daemon.client.backup()
        git(self.there, "pull", "-q", "--ff-only")

    def push(self, files: Mapping[str, Any]) -> None:
        """Commit and push files (text, or what is to be JSON); None removes one."""
        for name, content in files.items():
            path = self.there / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        git(self.there, "add", "-A", "-f")
        git(self.there, "commit", "-qm", "from another clone")
        git(self.there, "push", "-q", "origin", "HEAD:main")

    def refused(self, files: Mapping[str, Any]) -> str:
        """What the daemon says instead of taking these; the remote is then as it was."""
        head = git(self.daemon.root, "rev-parse", "HEAD")
        self.push(files)
        with pytest.raises(BackupDiverged) as refusal:
            self.daemon.client.backup()
        assert git(self.daemon.root, "rev-parse", "HEAD") == head
        git(self.there, "reset", "-q", "--hard", "HEAD~1")
        git(self.there, "push", "-q", "-f", "origin", "HEAD:main")
        return refusal.value.detail
