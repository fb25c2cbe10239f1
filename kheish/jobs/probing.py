"""A trial of the sandbox, run once as a job would run: checks that bubblewrap works here, and closes what it should."""

from __future__ import annotations

import asyncio
import functools
import os
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kheish.jobs import sandbox, seal
from kheish.jobs.runner import JobSpec, run_now

_TIMEOUT = 20.0
#: the trial of a confined command; each line that it prints is an open path. Opening for appending writes nothing.
_SCRIPT = r"""
for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger \
    /proc/irq/default_smp_affinity /proc/self/oom_score_adj /sys/kernel/uevent_helper /etc/passwd; do
  if (exec 3>>"$file") 2>/dev/null; then echo "$file can be written"; fi
done
[ -e "$1" ] && echo "files outside of the workspace are seen"
while read -r name value; do
  case $name in
    CapEff:) [ "$value" = 0000000000000000 ] || echo "a command has rights of root ($value)" ;;
    NoNewPrivs:) [ "$value" = 1 ] || echo "setuid programs give rights" ;;
    Seccomp:) [ "$value" = "$2" ] || echo "system calls are not filtered" ;;
  esac
done < /proc/self/status
kill -0 "$3" 2>/dev/null && echo "processes outside are seen"
exit 0
"""


@dataclass(frozen=True)
class Probe:
    """The result: whether bubblewrap confines here. `why` describes it, or gives the reason for its failure, in one
    line. `gaps` are the open ends."""

    available: bool
    why: str
    gaps: tuple[str, ...] = ()


UNTRIED = Probe(False, "not tried yet")


@functools.cache
def probe() -> Probe:
    """Run a command in the sandbox once, and cache the result. Blocks; see `probe_async`."""
    bwrap = sandbox.bwrap()
    if bwrap is None:
        return Probe(False, "bubblewrap (bwrap) is not installed")
    with tempfile.TemporaryDirectory(prefix="kheish-probe-") as place:
        (workspace := Path(place, "workspace")).mkdir()
        (outside := Path(place, "outside")).touch()
        filtered = "2" if seal.filter_program() else "0"
        script = ("sh", "-c", _SCRIPT, "sh", str(outside), filtered, str(os.getpid()))
        try:
            argv = sandbox.wrap(script, workspace=workspace)
            environment = sandbox.clean_environment(workspace)
            end = run_now(Path(place, "jobs"), JobSpec(argv, str(workspace), environment, _TIMEOUT))
        except (OSError, subprocess.TimeoutExpired) as error:
            return Probe(False, f"{bwrap} cannot be used: {error}")
    lines = end.output.strip().splitlines()
    if end.exit_status != 0:
        return Probe(False, f"{bwrap} does not work here: {lines[-1] if lines else f'exit status {end.exit_status}'}")
    if lines:
        return Probe(False, f"{bwrap} does not confine here: {'; '.join(lines)}")
    return Probe(True, f"confined by {bwrap}", tuple(_gaps(bwrap)))


async def probe_async() -> Probe:
    """Run `probe` off the event loop."""
    return await asyncio.to_thread(probe)


def _gaps(bwrap: str) -> list[str]:
    gaps = []
    if seal.filter_program() is None:
        gaps.append(f"system calls are not filtered on {os.uname().machine}: commands reach the kernel's key rings")
    if not seal.scopes_sockets() or os.stat(bwrap).st_mode & stat.S_ISUID:  # noqa: PTH116
        gaps.append("a command with the network reaches abstract Unix sockets of this machine (until Linux 6.12)")
    return gaps
