"""Scribes and git workers of forked daemons: forks of a second server, which has imported what both import.

Their imports are half of the CPU time that a forked daemon takes to start. The daemon asks for `python -m MODULE WORDS`
as ever (`asyncio.create_subprocess_exec`); here the request goes to the server, and the answer looks like a process of
asyncio. The module runs as `__main__`, and `/proc/PID/cmdline` has its words. What differs: its parent is the server,
so the last word in `/proc/PID/cmdline` names the daemon.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import resource
import runpy
import selectors
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import forking

MODULES = ("kheish.store.log.scribe", "kheish.store.git.gitworker")
#: how the last word in the command line of a forked helper begins; the daemon's pid follows
FORKED_FOR = "--forked-for="
#: room for a command line, which a process can overwrite but not lengthen
_ROOM = "-" * 8192
_LARGEST = 1 << 20


def start_server(env: dict[str, str]) -> tuple[str, subprocess.Popen[bytes]]:
    """Start the server; return its address, and the process, which ends when its stdin is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind("")  # Linux chooses an abstract name
        listening.listen(64)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked_helpers", str(listening.fileno()), _ROOM],
            cwd=Path(__file__).parents[2],
            env=env,
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
        return listening.getsockname().decode(), process


# --- the daemon's side ------------------------------------------------------------------------------------------------


def use(address: str, site: str | None) -> None:
    """Have this process fork its scribe and its git worker from the server at an address, with the same site."""
    execute = asyncio.create_subprocess_exec

    async def execute_or_fork(*words: str, **options: Any) -> Any:
        if words[1:2] == ("-m",) and words[2] in MODULES:
            assert options.get("env") is None, "they have the daemon's environment"
            return await _fork(address, words, site)
        return await execute(*words, **options)

    asyncio.create_subprocess_exec = execute_or_fork


class _Process:
    """The part of `asyncio.subprocess.Process` that the daemon uses."""

    def __init__(
        self, pid: int, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, status: asyncio.StreamReader
    ) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._ended = asyncio.ensure_future(self._end(status))

    async def _end(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.read() or -9)  # the server may be gone first
        return self.returncode

    async def wait(self) -> int:
        """Return the exit code, negative for a signal."""
        return await asyncio.shield(self._ended)


async def _fork(address: str, words: tuple[str, ...], site: str | None) -> _Process:
    loop = asyncio.get_running_loop()
    (stdin, write), (read, stdout), (ended, status) = (os.pipe() for _ in range(3))
    asked = {
        "words": words,
        "env": dict(os.environ),
        "cwd": os.getcwd(),
        "umask": forking.umask(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "parent": os.getpid(),
        "site": site,
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(address.encode())
        socket.send_fds(server, [json.dumps(asked).encode()], [stdin, stdout, 2, status])
        pid = int(server.recv(64))
    for descriptor in (stdin, stdout, status):
        os.close(descriptor)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(write, "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    return _Process(pid, writer, await _reader(read), await _reader(ended))


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


# --- the server's side ------------------------------------------------------------------------------------------------


def serve(listening: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request until stdin is closed. Returns in the forked processes only, with their request
    and its descriptors."""
    running: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    os._exit(0)
                if key.fd != listening.fileno():
                    selector.unregister(key.fd)
                    forking.report(key.fd, *running.pop(key.fd))
                    continue
                daemon, _ = listening.accept()
                message, descriptors, _, _ = socket.recv_fds(daemon, _LARGEST, 4)
                pid = os.fork()
                if pid == 0:
                    listening.detach()
                    daemon.detach()
                    return json.loads(message), descriptors
                daemon.send(str(pid).encode())
                daemon.close()
                for descriptor in descriptors[:-1]:
                    os.close(descriptor)
                ended = os.pidfd_open(pid)
                running[ended] = (pid, descriptors[-1])
                selector.register(ended, selectors.EVENT_READ)


def _write_command_line(words: list[str]) -> None:
    """Write what `/proc/self/cmdline` has over the words that this process was started with."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    line = b"".join(os.fsencode(word) + b"\0" for word in words)
    assert len(line) < end - begin, "the command line is too long"
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


def main() -> None:
    """Import the code, and be the server; in a forked process, run the module that is asked for."""
    import gc

    for name in MODULES:
        importlib.import_module(name)
    for name in MODULES:
        del sys.modules[name]
    gc.collect()
    gc.freeze()
    asked, descriptors = serve(socket.socket(fileno=int(sys.argv[1])))
    _, _, module, *words = asked["words"]
    forking.become(asked, descriptors, asked["words"])
    resource.setrlimit(resource.RLIMIT_NOFILE, asked["files"])
    _write_command_line([*asked["words"], f"{FORKED_FOR}{asked['parent']}"])
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
    forking.end_here(0)
