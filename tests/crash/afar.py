"""Sessions of the campaign whose commands run on workers, by a stand-in for ssh that starts real workers here.

The worker `shared` works in the workspace itself, and `copied` on copies: each of its sessions has a workspace of its
own, and what runs wrote there must be here when all is quiet.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.crash.journals import Finding
from tests.support.daemon import Daemon
from tests.support.machines import Machines

Send = Callable[..., tuple[int, dict[str, Any], int]]
SHARED, COPIED = "shared", "copied"
#: the folder of the machines, beside the state root
FOLDER = "afar"
FILES: dict[str, dict[str, Any]] = {
    SHARED: {"carrier": "ssh", "address": SHARED, "workspace": "path", "sandbox": "off", "resources": {"jobs": 16}},
    COPIED: {"carrier": "ssh", "address": COPIED, "workspace": "git", "sandbox": "off", "resources": {"jobs": 16}},
}
#: what runs of the copied sessions do: what ends in the background after its run comes back with the next run only
ROUTES = ("shell", "slow", "mixed", "edits", "large", "bulky", "asks", "flaky")


def set_up(send: Send) -> None:
    """Define the workers."""
    for name, fields in FILES.items():
        send("PUT", f"/v1/workers/{name}", fields)


def settings(number: int, workspaces: Path) -> dict[str, Any]:
    """Return what a new session has: some are on one of the workers."""
    if number % 6 == 1:
        return {"session_id": f"{SHARED}-{number}", "worker": SHARED}
    if number % 6 == 4:
        (own := workspaces / f"{COPIED}-{number}").mkdir(parents=True, exist_ok=True)
        return {"session_id": own.name, "worker": COPIED, "workspace": str(own)}
    return {}


class Afar:
    """The machines of a campaign, and the workspaces of the sessions on copies."""

    def __init__(self, folder: Path) -> None:
        self.machines = Machines(folder)
        self.workspaces = folder / "workspaces"
        self._merged = folder / "merged"

    def tidied(self, daemon: Daemon) -> bool:
        """Return whether no run holds a copy, and no job is left on the workers; they are connected for that."""
        for name in FILES:
            daemon.client.workers.test(name)
        held = [path for path in self.machines.homes.rglob("holders.json") if json.loads(path.read_text())]
        jobs = self.machines.homes.glob("*/.local/state/kheish/worker/*/jobs/*")
        return not held and not list(jobs)

    def ledger(self, daemon: Daemon) -> Path:
        """Return the ledger of all workspaces, in a folder that leads to all their files."""
        shutil.rmtree(self._merged, ignore_errors=True)
        texts = []
        for own in [daemon.workspace, *sorted(self.workspaces.glob("*"))]:
            for folder in ("notes", "bulky"):
                (self._merged / folder).mkdir(parents=True, exist_ok=True)
                for path in own.glob(f"{folder}/*"):
                    (self._merged / folder / path.name).symlink_to(path)
            texts.append((own / "ledger.txt").read_text() if (own / "ledger.txt").exists() else "")
        (self._merged / "ledger.txt").write_text("".join(texts))
        return self._merged / "ledger.txt"

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong on the machines: the daemon's variables, in a file or in a process."""
        for path in self.machines.homes.rglob("*"):
            if path.is_file() and not path.is_symlink() and b"sk-of-the-campaign" in path.read_bytes():
                yield Finding("secret_afar", str(path), "a worker has a key of the daemon")


def processes(folder: Path, word: str) -> list[int]:
    """Return the processes of the machines of a campaign with a word in their command line: workers have their home
    there, runners their job."""
    homes, found = os.fsencode(folder / FOLDER / "homes"), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line, variables = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in line and (homes in line or homes in variables):
            found.append(int(path.name))
    return found
