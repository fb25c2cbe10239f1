"""Machines that `ssh` reaches: a program of that name, which runs the line here with a home folder for each host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SSH = """#!/bin/sh
# the last two words are the host and the line; a host whose file `down` exists is not reachable
while [ $# -gt 2 ]; do shift; done
host=${{1#*@}}
home={homes}/$host
[ -e "$home.down" ] && {{ echo "ssh: connect to host $host: No route to host" >&2; exit 255; }}
mkdir -p "$home/.local/share/kheish/worker/bin"
ln -sf {kheish} "$home/.local/share/kheish/worker/bin/kheish"
exec env -i HOME="$home" PATH="$PATH" KHEISH_TEST_HOST="$host" sh -c "$2"
"""


class Machines:
    """The hosts, each with a home folder below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.homes = folder / "homes"
        self.homes.mkdir(parents=True)
        self.bin = folder / "bin"
        self.bin.mkdir()
        program = self.bin / "ssh"
        program.write_text(_SSH.format(homes=self.homes, kheish=Path(sys.executable).with_name("kheish")))
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which `ssh` means this one."""
        return {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def workspaces(self, host: str) -> list[Path]:
        """The copied workspaces of a host."""
        return sorted((self.homes / host / ".local/state/kheish/workspaces").glob("*/ws-*"))
