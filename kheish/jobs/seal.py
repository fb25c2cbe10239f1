"""The closing of gaps that mounts and namespaces leave to a confined command: system calls, and sockets without a file.

The runner applies it to the command that it starts, see `child.py`. It installs a filter of system calls (seccomp),
which bubblewrap does last, and a Landlock domain, which keeps abstract Unix sockets of other processes out of reach.
Both hold for all descendants of the command.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

#: the descriptor on which bubblewrap finds the filter
FILTER_DESCRIPTOR = 10

_LOAD, _EQUAL, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_X32 = 0x40000000
_NEW_USER_NAMESPACE = 0x10000000
#: calls that insert bytes into a terminal as if they were typed there
_TERMINAL_INJECTION = (0x5412, 0x541C)
#: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Others (vsock to the hypervisor, Bluetooth) ignore network namespaces.
_FAMILIES = (1, 2, 10, 16)
#: the same number on every architecture: mounts by descriptor, quotas
_NEW_CALLS = (428, 429, 430, 431, 432, 433, 442, 443, 467)
#: io_uring and clone3, whose arguments a filter cannot see; programs fall back to the older calls
_UNSEEN_CALLS = (425, 426, 427, 435)

#: For each architecture: its constant in the kernel; the refused calls (keys of the kernel, modules, kexec, BPF,
#: counters, user faults, mounts, namespaces of other processes, swap, accounting, clocks, the kernel's log); and the
#: numbers of clone, unshare, ioctl and socket.
_X86_64 = (
    0xC000003E,
    (248, 249, 250, 321, 298, 323, 246, 320, 175, 313, 176, 165, 166, 155, 308, 304, 179, 167, 168, 169, 163, 103, 164,
     227, 212, 134),
    (56, 272, 16, 41),
)  # fmt: skip
_I386 = (
    0x40000003,
    (286, 287, 288, 357, 336, 374, 283, 128, 350, 129, 21, 22, 52, 217, 346, 342, 131, 87, 115, 88, 51, 103, 79, 264,
     404, 253, 86, 102),
    (120, 310, 54, 359),
)  # fmt: skip
_AARCH64 = (
    0xC00000B7,
    (217, 218, 219, 280, 241, 282, 104, 294, 105, 273, 106, 40, 39, 41, 268, 265, 60, 224, 225, 142, 89, 116, 170, 112,
     18),
    (220, 97, 29, 198),
)  # fmt: skip
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64,)}

_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_VERSION = 1
_SCOPES_SINCE = 6  # the version of Landlock that can scope sockets: Linux 6.12
_SCOPE_ABSTRACT_SOCKETS = 1
_PR_SET_NO_NEW_PRIVS = 38


def filter_program() -> bytes | None:
    """Return the filter for this machine; None for an architecture without a table here."""
    tables = _MACHINES.get(os.uname().machine)
    if tables is None or sys.platform != "linux":
        return None
    program: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for word, refused, places in tables:
        body = _body(refused, places)
        # A conditional jump reaches 255 instructions, so the way to the next table is a far jump.
        program += [(_EQUAL, 1, 0, word), (0x05, 0, 0, len(body)), *body]
    program.append(_refuse(_ENOSYS))
    return b"".join(struct.pack("=HBBI", *one) for one in program)


def _body(refused: tuple[int, ...], places: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    clone, unshare, ioctl, socket = places
    body = [(_LOAD, 0, 0, _NUMBER), (_ANY_BIT, 0, 1, _X32), _refuse(_ENOSYS)]
    for number in (*refused, *_NEW_CALLS):
        body += [(_EQUAL, 0, 1, number), _refuse(_EPERM)]
    for number in _UNSEEN_CALLS:
        body += [(_EQUAL, 0, 1, number), _refuse(_ENOSYS)]
    for number in (clone, unshare):
        body += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 0, 1, _NEW_USER_NAMESPACE)]
        body += [_refuse(_EPERM), _allow()]
    body += [(_EQUAL, 0, 6, ioctl), (_LOAD, 0, 0, _ARGUMENTS + 8)]
    for request in _TERMINAL_INJECTION:
        body += [(_EQUAL, 0, 1, request), _refuse(_EPERM)]
    body += [_allow()]
    body += [(_EQUAL, 0, 7, socket), (_LOAD, 0, 0, _ARGUMENTS)]
    for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True):
        body += [(_EQUAL, left, 0, family)]
    return [*body, _refuse(_EAFNOSUPPORT), _allow(), _allow()]


def _refuse(error: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _ERRNO | error


def _allow() -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _ALLOW


def sealed(argv: list[str]) -> list[str]:
    """Seal this process, which is to become the bubblewrap of `argv`; return the command line to execute. The
    descriptor of the filter stays open for it. Raises OSError."""
    program = filter_program()
    if os.stat(argv[0]).st_mode & 0o4000 == 0:  # noqa: PTH116  # a setuid bubblewrap cannot have what this needs
        _scope_sockets()
    if program is None:
        return argv
    descriptor = os.memfd_create("filter", 0)
    os.write(descriptor, program)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, FILTER_DESCRIPTOR, inheritable=True)
    if descriptor != FILTER_DESCRIPTOR:
        os.close(descriptor)
    return [argv[0], "--seccomp", str(FILTER_DESCRIPTOR), *argv[1:]]


def scopes_sockets() -> bool:
    """Return whether this kernel can keep abstract Unix sockets of other processes out of a command's reach."""
    if sys.platform != "linux":
        return False
    version: int = ctypes.CDLL(None).syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    return version >= _SCOPES_SINCE


def _scope_sockets() -> None:
    if not scopes_sockets():
        return
    library = ctypes.CDLL(None, use_errno=True)
    rules = struct.pack("=QQQ", 0, 0, _SCOPE_ABSTRACT_SOCKETS)
    descriptor = library.syscall(_LANDLOCK_CREATE, rules, len(rules), 0)
    try:
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if descriptor < 0 or library.syscall(_LANDLOCK_RESTRICT, descriptor, 0) < 0:
            raise OSError(ctypes.get_errno(), "Landlock refuses the domain")
    finally:
        if descriptor >= 0:
            os.close(descriptor)
