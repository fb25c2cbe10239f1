"""What mounts and namespaces leave open to a confined command is closed: kernel settings, keys, sockets, calls."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

import pytest

from kheish.jobs import probing, sandbox
from kheish.jobs.runner import JobEnd, JobSpec, run_now

pytestmark = pytest.mark.skipif(not probing.probe().available, reason="bubblewrap does not work here")

SYSCALL = """
import ctypes, errno, sys
library = ctypes.CDLL(None, use_errno=True)
def call(*words):
    ctypes.set_errno(0)
    got = library.syscall(*words)
    print("done" if got >= 0 else errno.errorcode[ctypes.get_errno()])
"""
#: Each writes nothing where it is refused, and says so on a line of its own.
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
INT80 = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(b"\\xb8" + (288).to_bytes(4, "little") + b"\\x53\\x31\\xdb\\xcd\\x80\\x5b\\xc3")
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
"""
ATTEMPTS = {
    "kernel settings": ("bash", "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness /proc/sysrq-trigger "
                        "/proc/sys/net/core/somaxconn /proc/self/uid_map; do (exec 3>>$f) && echo opened $f; done", ""),
    "mount it again": ("bash", "mount -o remount,rw /proc; mount -t proc p /mnt; umount /proc/keys; "
                       "(exec 3>>/proc/sys/kernel/core_pattern) && echo opened", ""),
    "through other ways to it": ("bash", "for p in /proc/self/root /proc/1/root /proc/self/cwd/../../..; do "
                                 "(exec 3>>$p/proc/sys/kernel/core_pattern) && echo opened; done", ""),
    "user namespaces": ("bash", "unshare -U true && echo made; unshare -Ur true && echo made", ""),
    "hashes": ("bash", "cat /etc/shadow /etc/shadow- /etc/gshadow- /etc/ssl/private/*", ""),
    "key names": ("bash", "cat /proc/keys /proc/key-users", ""),
    "the kernel's log": ("bash", "dmesg | head -1", ""),
    "debug other processes": ("bash", "ls /proc | grep -c '^[0-9]*$' | awk '$1 > 8'; ls -A /dev/shm; ls /run /sys", ""),
    "devices": ("bash", "ls /dev | grep -E 'sd|vd|kmsg|mem|kvm|fuse|vsock|net$|snd|dri|input'", ""),
    "key rings": ("python3", SYSCALL + "call(250, 0, -3, 0)\ncall(248, b'user', b'a', b'b', 1, -3)\n"
                  "call(249, b'user', b'a', 0, 0)", "EPERM\nEPERM\nEPERM"),
    "the numbers of x32": ("python3", SYSCALL + "call(0x40000000 | 250, 0, -3, 0)", "ENOSYS"),
    "the calls of 32 bits": ("python3", INT80, "-1"),
    "clone": ("python3", SYSCALL + "call(56, 0x10000000 | 17, 0, 0, 0, 0)\ncall(435, 0, 0)", "EPERM\nENOSYS"),
    "kernel surface": ("python3", SYSCALL + "for number in (321, 323, 298, 425, 428, 430, 165, 304, 246):\n"
                       "    call(number, 0, 0, 0, 0, 0)",
                       "EPERM\nEPERM\nEPERM\nENOSYS\nEPERM\nEPERM\nEPERM\nEPERM\nEPERM"),
    "type into a terminal": ("python3", "import fcntl, pty\nfor n in (0x5412, 0x541C):\n"
                             "    try: fcntl.ioctl(pty.openpty()[1], n, b'x')\n"
                             "    except OSError as error: print(error.errno)", "1\n1"),
    "sockets without a namespace": ("python3", "import socket\nfor family in (40, 17, 38, 31, 30, 42):\n"
                                    "    try: socket.socket(family, 1); print('made', family)\n"
                                    "    except OSError as error: print(error.errno)", "\n".join(["97"] * 6)),
    "a dump for the kernel's handler": ("bash", "ulimit -Sc; ulimit -c unlimited; kill -SEGV $$", None),
}  # fmt: skip


def confined(folder: Path, *argv: str, network: bool = False, **options: object) -> JobEnd:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    words = sandbox.wrap(argv, workspace=workspace, network=network, **options)  # type: ignore[arg-type]
    count = len(list(folder.glob("jobs*")))
    spec = JobSpec(words, str(workspace), sandbox.clean_environment(workspace), 30.0)
    return run_now(folder / f"jobs{count}", spec)


@pytest.mark.found("S3")
@X86
@pytest.mark.parametrize("attempt", ATTEMPTS, ids=ATTEMPTS)
def test_a_confined_command_cannot(tmp_path: Path, attempt: str) -> None:
    program, script, expected = ATTEMPTS[attempt]
    end = confined(tmp_path, program, "-c", f"exec 2>/dev/null; {script}" if program == "bash" else script)
    if expected is None:
        assert (end.output in ("0\n", "1\n") and end.signal is not None) or end.exit_status == 139, end
    else:
        assert end.output.strip() == expected, end


@pytest.mark.found("S3")
@pytest.mark.skipif(bool(probing.probe().gaps), reason="this kernel cannot scope abstract sockets")
def test_abstract_sockets_of_other_processes_are_out_of_reach_though_the_network_is_there(tmp_path: Path) -> None:
    # given
    name = f"\0kheish-test-{os.getpid()}"
    inner = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0own'); s.listen(); " \
            "socket.socket(socket.AF_UNIX).connect('\\0own'); print('own', flush=True)"  # fmt: skip
    outer = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r}); print('outside')"
    with socket.socket(socket.AF_UNIX) as there, socket.socket() as web:
        there.bind(name)
        there.listen()
        web.bind(("127.0.0.1", 0))
        web.listen()
        reach = f"import socket; socket.create_connection(('127.0.0.1', {web.getsockname()[1]})); print('network')"

        # when
        end = confined(tmp_path, "bash", "-c", 'for i; do python3 -c "$i"; done', "bash", inner, outer, reach,
                       network=True)  # fmt: skip

    # then
    assert "own\n" in end.output and "network\n" in end.output
    assert "PermissionError" in end.output and "outside\n" not in end.output


def test_ordinary_programs_work_all_the_same(tmp_path: Path) -> None:
    program = (
        "import multiprocessing, os, pty, signal, socket, sqlite3, subprocess, tempfile, threading\n"
        "threads = [threading.Thread(target=print, args=('thread',)) for _ in range(2)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(multiprocessing.get_context('fork').Pool(1).map(abs, [-1]), socket.socketpair() is not None)\n"
        "a = socket.create_server(('127.0.0.1', 0)); socket.create_connection(a.getsockname()); pty.openpty()\n"
        "print(subprocess.run(['sh', '-c', 'echo $((1+1)); date +%Y | wc -c; echo ok > /dev/stderr'],"
        " capture_output=True, text=True).stdout.split())\n"
        "sqlite3.connect('a.db').execute('create table t(x)'); print(socket.if_nameindex()[0][1])\n"
    )
    end = confined(tmp_path, "python3", "-c", program)
    assert end.exit_status == 0, end.output
    assert "[1] True" in end.output and "lo" in end.output


def test_the_probe_sees_what_is_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sandbox that shows the kernel's settings to write is none."""
    monkeypatch.setattr(sandbox, "_proc", lambda: iter(()))
    probing.probe.cache_clear()
    try:
        found = probing.probe()
    finally:
        monkeypatch.undo()
        probing.probe.cache_clear()
    if os.geteuid() == 0:
        assert not found.available and "core_pattern can be written" in found.why
    assert probing.probe().available
