"""The process of a stdio server: its words, environment and folder, confined as its file says."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from kheish.domain.mcp.server import FromSlot, FromVariable, McpServer, ServerSandbox
from kheish.errors import KheishError
from kheish.jobs import sandbox
from kheish.jobs.served import ServedSpec
from kheish.runtime.mcp.outcomes import NotConnected
from kheish.runtime.tools.shell import SandboxSettings


def spec_of(
    server: McpServer,
    *,
    folder: Path,
    errors: Callable[[bytes], Awaitable[None]],
    secrets: Mapping[str, str],
    settings: SandboxSettings,
    environ: Mapping[str, str],
) -> ServedSpec:
    """Return the process of a server; `folder` is its working folder if its file names none. `secrets` are the values
    of its slots; `errors` takes its standard error. Blocks on disk. Raises NotConnected."""
    assert server.command is not None and server.sandbox is not None
    place = Path(server.cwd).expanduser() if server.cwd is not None else folder
    if not place.is_dir():
        raise NotConnected(f"its working folder {place} does not exist")
    box = server.sandbox
    more = tuple(Path(path).expanduser() for path in box.read_only) if isinstance(box, ServerSandbox) else ()
    read_only = (*settings.read_only, *more)
    environment = _environment(server, place, read_only, secrets, environ)
    program = sandbox.resolve_executable(server.command, environment["PATH"])
    if program is None:
        raise NotConnected(f"there is no program {server.command!r} in {environment['PATH']}")
    argv: tuple[str, ...] = (program, *server.args)
    if isinstance(box, ServerSandbox):
        argv = _confined(argv, place, box, read_only, settings)
    return ServedSpec(argv=argv, env=environment, cwd=str(place), limits=settings.limits, errors=errors)


def _environment(
    server: McpServer, place: Path, read_only: tuple[Path, ...], secrets: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment: PATH, HOME and LANG, and what the file names."""
    clean = sandbox.clean_environment(place, read_only)
    given: dict[str, str] = {}
    for name, value in server.env.items():
        match value:
            case FromSlot(slot=slot):
                given[name] = secrets[slot]
            case FromVariable(variable=variable):
                if variable in environ:
                    given[name] = environ[variable]
            case str():
                given[name] = value
    path = clean["PATH"] if server.sandbox != "off" else os.pathsep.join((environ.get("PATH", ""), clean["PATH"]))
    return {"PATH": path, "HOME": str(Path.home()), "LANG": "C.UTF-8", "PWD": str(place), **given}


def _confined(
    argv: tuple[str, ...], place: Path, box: ServerSandbox, read_only: tuple[Path, ...], settings: SandboxSettings
) -> tuple[str, ...]:
    if not settings.available:
        raise NotConnected("it is to be confined, and bubblewrap does not work on this machine (sandbox in its file)")
    writable = [Path(path).expanduser() for path in box.writable]
    if missing := [str(path) for path in writable if not path.is_dir()]:
        raise NotConnected(f"the folder {missing[0]} (sandbox.writable) does not exist")
    try:
        return sandbox.wrap(
            argv,
            workspace=place,
            hide=settings.hide,
            read_only=read_only,
            network=box.network,
            memory=settings.limits.memory,
            writable=writable,
        )
    except KheishError as error:
        raise NotConnected(error.detail) from error
