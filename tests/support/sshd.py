"""An OpenSSH server of this user on a loopback port, with its own keys and settings, and a client configuration."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(__file__).parents[2] / ".venv" / "bin"
SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).exists()), None)
MISSING = "sshd is not installed (apt-get install openssh-server)"


@dataclass(frozen=True)
class Server:
    """A running server: `config` is for `ssh -F`, `state` the far XDG_STATE_HOME."""

    pid: int
    config: Path
    state: Path


@contextmanager
def serving(folder: Path, host: str = "far") -> Iterator[Server]:
    """Serve logins of this user as a host, until the context ends."""
    assert SSHD is not None
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_bytes((folder / "client.pub").read_bytes())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile {folder}/pid\n"
        f"SetEnv PATH={BIN}:/usr/local/bin:/usr/bin:/bin XDG_STATE_HOME={folder}/state\n"
    )
    (folder / "ssh_config").write_text(
        f"Host {host}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/client\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        _await_port(port, process)
        yield Server(process.pid, folder / "ssh_config", folder / "state")
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "sshd does not start"
            time.sleep(0.02)
        else:
            return
