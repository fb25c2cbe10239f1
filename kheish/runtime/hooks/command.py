"""Hooks that are commands: unconfined processes under the daemon's own runner, which ends all that they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from kheish.domain.hooks import answer
from kheish.domain.hooks.definition import HookFile
from kheish.domain.mcp.server import FromSlot, FromVariable
from kheish.jobs import served
from kheish.jobs.served import ServedSpec
from kheish.jobs.values import Limits
from kheish.runtime.debug import wire
from kheish.runtime.hooks.asked import MOST_BYTES, Asked, HookFailed, Replied

_SHOWN = 300
_PATH = "/usr/local/bin:/usr/bin:/bin"


async def run(asked: Asked, *, secrets: Mapping[str, str], environ: Mapping[str, str], limits: Limits) -> Replied:
    """Run the command, and read its answer. Raises HookFailed."""
    try:
        spec = await asyncio.to_thread(_spec, asked, secrets, environ, limits)
        process = await served.start(spec)
    except OSError as error:
        raise HookFailed(f"it could not be started: {error}") from error
    try:
        given = await asyncio.to_thread(asked.encoded) + b"\n"
        wire.sent(given)
        stdout, code = await served.talk(process, given, MOST_BYTES)
        wire.got(stdout)
        errors = await process.last_errors(served.ERRORS)
        return await asyncio.to_thread(_read, asked.moment, stdout, errors, code, process.describe_end())
    except OverflowError as error:
        raise HookFailed(str(error)) from error
    finally:
        await process.close()


def _spec(asked: Asked, secrets: Mapping[str, str], environ: Mapping[str, str], limits: Limits) -> ServedSpec:
    command = asked.file.command
    assert command is not None
    argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
    return ServedSpec(argv=argv, env=environment(asked.file, asked.cwd, secrets, environ), cwd=asked.cwd, limits=limits)


def environment(hook: HookFile, cwd: str, secrets: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a command: PATH and the like, the folders, and what its file names."""
    given = {"PATH": environ.get("PATH") or _PATH, "HOME": str(Path.home()), "LANG": "C.UTF-8", "PWD": cwd}
    given |= {"CLAUDE_PROJECT_DIR": cwd, "KHEISH_WORKSPACE": cwd}
    if hook.plugin_root is not None:
        given["CLAUDE_PLUGIN_ROOT"] = hook.plugin_root
    for name, value in hook.env.items():
        match value:
            case FromSlot(slot=slot):
                given[name] = secrets[slot]
            case FromVariable(variable=variable):
                given |= {name: environ[variable]} if variable in environ else {}
            case str():
                given[name] = value
    return given


def _read(moment: str, stdout: bytes, errors: str, code: int, end: str) -> Replied:
    """Return the answer in an output. Raises HookFailed for one that has none."""
    text = stdout.decode("utf-8", "replace")
    try:
        found = answer.of_output(moment, text, errors, code)
    except answer.Unreadable as error:
        if code != answer.BLOCKS:
            raise HookFailed(str(error), code) from error
        found = answer.of_output(moment, "", errors, code)
    is_failure = code not in (0, answer.BLOCKS) or (code == answer.BLOCKS and found.decision is None)
    if is_failure and not found.is_object:
        said = " ".join(errors.split())[:_SHOWN]
        raise HookFailed(f"{end}{': ' + said if said else ''}", code)
    return Replied(answer=found, exit_code=code)
