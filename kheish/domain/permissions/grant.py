"""Patterns that allow commands: the text of a simple command, the reach of its `*`, and the folder."""

from __future__ import annotations

from pathlib import Path

from kheish.domain.permissions import match as permission_match, shell as permission_shell
from kheish.domain.permissions.rules import Place, Rule, ToolCall
from kheish.domain.permissions.shell import Part
from kheish.jobs.programs import table as programs

_BLANKS = " \t\n"  # those of bash; Python also counts U+3000


def covers(rule: Rule, part: Part, call: ToolCall, workspace: Path) -> bool:
    """Return whether a rule that allows, or gives the network, covers all of the simple command.

    For a rule that asks, the text is enough: a user agrees to the call itself.
    """
    if rule.match is None or not permission_shell.fits(rule.match, part):
        return rule.match is None
    return rule.decision == "ask" or shortfall(rule, part, call, workspace) is None


def shortfall(rule: Rule, part: Part, call: ToolCall, workspace: Path) -> str | None:
    """Return why a rule does not cover a simple command that its text fits; None where it does."""
    assert rule.match is not None
    beyond = programs.fault(part.words, rule.match)
    if beyond is not None:
        return beyond
    for folder in part.folders:
        fault = _folder_fault(rule, part, folder, call, workspace)
        if fault is not None:
            return fault
    return None


def folders(call: ToolCall) -> tuple[str, ...]:
    """Return the folders that the command of a call may run in, from the workspace, as far as they are known."""
    command, workdir = call.arguments.get("command"), str(call.arguments.get("workdir") or ".")
    if not isinstance(command, str):
        return ()
    parts = permission_shell.read(command).allowed
    known = [folder for part in parts for folder in part.folders if folder is not None]
    return tuple(dict.fromkeys(permission_shell.join(workdir, folder) for folder in known))


def is_written(rule: Rule, call: ToolCall, workspace: Path) -> bool:
    """Return whether the rule, which has no wildcard, is the command of the call as written."""
    command = call.arguments.get("command")
    if rule.match is None or rule.exact or not isinstance(command, str):
        return False
    if command.strip(_BLANKS) != rule.match.strip(_BLANKS):
        return False
    names = permission_match.beneath(workspace, call.arguments.get("workdir") or ".")
    return programs.named(rule.match).is_whole and names is not None and _holds_in(rule, names, workspace)


def _folder_fault(rule: Rule, part: Part, folder: str | None, call: ToolCall, workspace: Path) -> str | None:
    if programs.is_anywhere(part.words) and not programs.uses_repository(part.words):
        return None
    workdir = call.arguments.get("workdir") or "."
    names = None if folder is None else permission_match.beneath(workspace, folder, workdir)
    if folder is None or names is None:
        return "only running it would show in which folder it runs"
    shown = "/".join(names) or "."
    if not _holds_in(rule, names, workspace):
        return f"it runs in {shown}, and the rule holds in {rule.workdir} (workdir)"
    place = call.places.get(permission_shell.join(workdir, folder), Place())
    if place.elsewhere is not None:
        return f"it runs in {shown}: {place.elsewhere}"
    if place.repository is not None and programs.uses_repository(part.words):
        return f"git would run in {shown}: {place.repository}"
    return None


def _holds_in(rule: Rule, names: tuple[str, ...], workspace: Path) -> bool:
    if rule.workdir in ("**", "."):
        return rule.workdir == "**" or not names
    return permission_match.fits_folder("/" + rule.workdir.removeprefix("./").lstrip("/"), names, workspace)
