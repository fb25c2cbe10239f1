"""`kheish doctor`: checks of this machine and a state root, with a remedy for each problem."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from kheish.jobs import probing
from kheish.offline import scanning
from kheish.offline.doctor import machine as doctor_machine, root as doctor_root
from kheish.offline.doctor.machine import Finding

_TONES = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}
_WIDTH = 100


def findings(root: Path, *, scan: bool = False) -> list[Finding]:
    """Return what was found. `scan`: look for secrets in all files and the whole history, and for nothing else."""
    return list(scanning.scan(root, os.environ) if scan else examine(root))


def show(found: Sequence[Finding]) -> None:
    """Print findings with their remedies, and the counts."""
    for finding in found:
        for line in _lines(finding):
            click.echo(line)
    errors = sum(finding.level == "error" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    click.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}.")


def examine(root: Path) -> Iterator[Finding]:
    """Examine everything that needs no daemon. What needs a state root is left out if there is no state root."""
    yield from doctor_machine.python()
    yield from doctor_machine.git()
    yield from doctor_machine.ripgrep()
    opened = list(doctor_root.state_root(root))
    yield from opened
    usable = all(finding.level == "ok" for finding in opened)
    config = doctor_root.config(root) if usable else None
    yield from doctor_machine.confinement(config.sandbox.mode if config else "ask", probing.probe())
    yield from doctor_machine.user()
    workspace = Path(config.workspace).expanduser() if config and config.workspace else None
    yield from doctor_machine.identity(*((config.git.name, config.git.email) if config else (None, None)), workspace)
    yield from doctor_machine.space(root if usable else Path.home())
    yield from doctor_machine.watches()
    if usable:
        for check in _OF_ROOT:
            yield from check(root)
        yield from doctor_root.definitions(root, os.environ)


_OF_ROOT: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    doctor_root.daemon,
    doctor_root.token,
    doctor_root.repository,
)


def _lines(finding: Finding) -> Iterator[str]:
    level = click.style(finding.level.ljust(8), fg=_TONES[finding.level], bold=finding.level != "ok")
    head, *rest = textwrap.wrap(finding.what, _WIDTH - 9, break_on_hyphens=False) or [""]
    yield f"{level} {head}"
    for line in (*rest, *textwrap.wrap(finding.do, _WIDTH - 12, initial_indent="→ ", subsequent_indent="  ")):
        yield f"{' ' * 9}{line}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
