"""`kheish workers install`: the wheel of this version, sent over ssh into a virtual environment of the host."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kheish import resources
from kheish.errors import KheishError, WorkerUnreachable
from kheish.runtime.workers.ssh import INSTALLED, Ssh

_SECONDS = 900.0
_FOLDER = INSTALLED.removesuffix("/bin/kheish")
_SOURCE = Path(__file__).parents[2]


def install(host: str, python: str, done: Callable[[str], None]) -> str:
    """Install Kheish on a host and return its version there; `done` is called after each step.

    Raises WorkerUnreachable, KheishError.
    """
    ssh = Ssh(host)
    with tempfile.TemporaryDirectory(prefix="kheish-wheel-") as folder:
        wheel = _wheel(Path(folder))
        done(f"Built {wheel.name}.")
        found = _far(
            ssh, f"{shlex.quote(python)} -c 'import sys; print(sys.version.split()[0], sys.version_info >= (3, 11))'"
        )
        number, _, is_new = found.strip().partition(" ")
        if is_new != "True":
            raise KheishError(f"{host} has Python {number or 'none'}; Kheish needs 3.11 or newer: --python PROGRAM.")
        done(f"{host} has Python {number}.")
        place = f'"$HOME/{_FOLDER}"'
        _far(ssh, f"mkdir -p {place} && cat > {place}/{wheel.name}", given=wheel.read_bytes())
        done(f"Sent {wheel.stat().st_size // 1024} KiB to ~/{_FOLDER}.")
    steps = (
        f"{shlex.quote(python)} -m venv {place}",
        f"{place}/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "
        f"{place}/{wheel.name}",
        f"{place}/bin/python -m pip install --quiet --disable-pip-version-check {place}/{wheel.name}",
        f"rm -f {place}/*.whl",
    )
    _far(ssh, " && ".join(steps))
    version = _far(ssh, f'"$HOME/{INSTALLED}" --version').split()[-1]
    done(f"Installed kheish {version} in ~/{_FOLDER} of {host}.")
    return version


def _wheel(folder: Path) -> Path:
    """Build the wheel of this installation: from its source, else fetch that of the same version."""
    is_source = (_SOURCE / "pyproject.toml").is_file()
    what = str(_SOURCE) if is_source else f"kheish=={resources.version()}"
    verb = "wheel" if is_source else "download"
    target = "--wheel-dir" if is_source else "--dest"
    words = [sys.executable, "-m", "pip", verb, "--quiet", "--no-deps", target, str(folder), what]
    made = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    wheels = list(folder.glob("*.whl"))
    if made.returncode != 0 or not wheels:
        raise KheishError(f"pip cannot make the wheel of {what}: {_tail(made.stderr)}")
    return wheels[0]


def _far(ssh: Ssh, line: str, given: bytes = b"") -> str:
    """Run a line of sh on the host and return its output."""
    try:
        ended = subprocess.run(ssh.argv(line), input=given, capture_output=True, timeout=_SECONDS, check=False)
    except OSError as error:
        raise WorkerUnreachable(f"ssh cannot be started: {error.strerror}.") from error
    if ended.returncode != 0:
        kind = WorkerUnreachable if ended.returncode == 255 else KheishError  # 255: of ssh itself
        raise kind(f"{ssh.address}: {_tail(ended.stderr.decode(errors='replace'))}")
    return ended.stdout.decode(errors="replace")


def _tail(text: str) -> str:
    return " ".join(text.split())[-500:] or "no reason was given"
