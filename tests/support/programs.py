"""A `kheish` for the PATH of a shell that is forked, not executed: the shell's process asks the tester for it.

An executed `kheish` imports for a third of a second, and pages of the documentation have many. The process that the
shell starts passes its words, environment, folder, stdin, stdout and stderr to the tester, and ends with the exit code.
"""

from __future__ import annotations

import ast
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import forking

#: what the shell starts; it imports nothing that has to be read from the disk
_PROGRAM = """#!/bin/sh
exec {python} -I -S -c '
import _socket, os, sys
tester = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
tester.connect(sys.argv[1])
asked = repr((sys.argv[2:], dict(os.environ), os.getcwd())).encode(errors="surrogateescape")
numbers = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
tester.sendmsg([asked], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
code = int(tester.recv(64))
os._exit(code if code >= 0 else 128 - code)
' {socket} {name} "$@"
"""
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Call:
    """What a shell typed; the descriptors are the shell's."""

    words: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdin: int
    stdout: int
    stderr: int


def kheish(call: Call) -> int:
    """Run `kheish WORDS` to its end, and return the exit code."""
    pid, status = forking.SERVER.fork(
        call.words, env=call.env, cwd=call.cwd, stdin=call.stdin, stdout=call.stdout, stderr=call.stderr
    )
    return forking.Forked(pid, status, None).wait()


class Programs:
    """Programs in a folder, each a function of the tester, until `close`."""

    def __init__(self, folder: Path, functions: Mapping[str, Callable[[Call], int]]) -> None:
        self._functions = functions
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(os.fspath(folder / "tester"))
        self._socket.listen()
        for name in functions:
            program = folder / name
            program.write_text(_PROGRAM.format(python=sys.executable, socket=folder / "tester", name=name))
            program.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer no more calls."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                threading.Thread(target=self._answer, args=self._socket.accept()[:1], daemon=True).start()

    def _answer(self, shell: socket.socket) -> None:
        with shell:
            asked, descriptors, _, _ = socket.recv_fds(shell, _LARGEST, 3)
            (name, *words), env, cwd = ast.literal_eval(asked.decode(errors="surrogateescape"))
            try:
                code = self._functions[name](Call(words, env, Path(cwd), *descriptors))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            shell.send(str(code).encode())
