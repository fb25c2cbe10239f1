"""The carrier `ssh`: `kheish worker --stdio` by the user's own ssh, with the user's own configuration and keys."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from kheish.errors import Invalid, WorkerUnreachable
from kheish.runtime.workers.carrier import Stream, start

_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9.:_\[\]%-]+\Z")
#: where `kheish workers install` puts the program; else it is looked up in PATH
INSTALLED = ".local/share/kheish/worker/bin/kheish"
_REMOTE = f'k="$HOME/{INSTALLED}"; [ -x "$k" ] || k=kheish; exec "$k" worker --stdio'
_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
)


@dataclass(frozen=True, slots=True)
class Ssh:
    """The way to a host of the user's ssh configuration. `config` replaces that file (`ssh -F`)."""

    address: str
    config: Path | None = None
    kind: str = "ssh"

    def __post_init__(self) -> None:
        if not _ADDRESS.match(self.address) or self.address.startswith("-"):
            raise Invalid(f"The address {self.address!r} is no host of ssh; write HOST or USER@HOST.")

    def argv(self, command: str = _REMOTE) -> list[str]:
        """Return the command line that runs a line of sh on the host, whatever its login shell is. Neither the agent
        nor the display is forwarded: keys stay here."""
        words = [shutil.which("ssh") or "ssh", "-T", "-a", "-x"]
        words += [word for option in _OPTIONS for word in ("-o", option)]
        words += ["-F", str(self.config)] if self.config is not None else []
        quoted = command.replace("'", "'\\''")
        return [*words, "--", self.address, f"exec sh -c '{quoted}'"]

    async def open(self) -> Stream:
        """Connect. Raises WorkerUnreachable."""
        if shutil.which("ssh") is None:
            raise WorkerUnreachable("ssh is not installed on this machine; install an OpenSSH client.")
        return await start(self.argv())
