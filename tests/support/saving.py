"""How editors and tools save a file: the same system calls in the same order, as strace shows them.

Each takes the path and the new content. They run everywhere; `tests/system/test_editors.py` has the real ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

Save = Callable[[Path, str], None]


def _write(path: Path, text: str, flags: int, *, sync: Callable[[int], None] | None = None, chunks: int = 1) -> None:
    handle = os.open(path, os.O_WRONLY | flags, 0o644)
    data = text.encode()
    step = len(data) // chunks + 1
    for at in range(0, len(data), step):
        os.write(handle, data[at : at + step])
    if sync is not None:
        sync(handle)
    os.close(handle)


def _vim_writes(path: Path, text: str) -> None:
    """vim 9: opens without truncating, truncates, writes, fsyncs, sets the mode."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.ftruncate(handle, 0)
    os.write(handle, text.encode())
    os.fsync(handle)
    os.fchmod(handle, 0o644)
    os.close(handle)


def _swap(path: Path) -> Path:
    """vim's swap file, made and removed once on trial, as it does."""
    swap = path.with_name(f".{path.name}.swp")
    for name in (swap, swap.with_suffix(".swx")):
        _write(name, "b0VIM 9.0", os.O_CREAT | os.O_EXCL)
        name.unlink()
    _write(swap, "b0VIM 9.0", os.O_CREAT | os.O_EXCL)
    return swap


def vim(path: Path, text: str) -> None:
    """`backupcopy=no`: the old file is renamed to its backup, a new one is written; first it tries a file 4913."""
    swap, backup, trial = _swap(path), Path(f"{path}~"), path.with_name("4913")
    _write(trial, "", os.O_CREAT | os.O_EXCL)
    trial.unlink()
    path.rename(backup)
    _vim_writes(path, text)
    backup.unlink()
    swap.unlink()


def vim_backupcopy(path: Path, text: str) -> None:
    """`backupcopy=yes`: the backup is a copy, the file itself is truncated and written."""
    swap, backup = _swap(path), Path(f"{path}~")
    _write(backup, path.read_text(), os.O_CREAT | os.O_EXCL)
    _vim_writes(path, text)
    backup.unlink()
    swap.unlink()


def emacs(path: Path, text: str) -> None:
    """A lock link, an auto-save file, the old file renamed to its backup, a new one written in pieces."""
    lock, autosave = path.with_name(f".#{path.name}"), path.with_name(f"#{path.name}#")
    lock.symlink_to("ada@host.4711:1")
    _write(autosave, text[:10], os.O_CREAT | os.O_TRUNC)
    path.rename(f"{path}~")
    _write(path, text, os.O_CREAT | os.O_TRUNC, chunks=2)
    os.close(os.open(path, os.O_WRONLY))
    autosave.unlink()
    lock.unlink()


def nano(path: Path, text: str) -> None:
    """Reads the file, then truncates and writes it in small pieces."""
    path.read_text()
    _write(path, text, os.O_CREAT | os.O_TRUNC, chunks=5)


def vscode(path: Path, text: str) -> None:
    """In place: truncated, written, fdatasynced."""
    _write(path, text, os.O_CREAT | os.O_TRUNC, sync=os.fdatasync)


def vscode_atomic(path: Path, text: str) -> None:
    """`files.atomic`: a temporary file beside it, and a rename."""
    beside = Path(f"{path}.vsctmp")
    _write(beside, text, os.O_CREAT | os.O_TRUNC, sync=os.fdatasync)
    beside.rename(path)


def jetbrains(path: Path, text: str) -> None:
    """ "Safe write": a temporary file, the old one renamed away, the new one renamed in."""
    beside, old = Path(f"{path}___jb_tmp___"), Path(f"{path}___jb_old___")
    _write(beside, text, os.O_CREAT | os.O_TRUNC)
    path.rename(old)
    beside.rename(path)
    old.unlink()


def gedit(path: Path, text: str) -> None:
    """GLib: a hidden temporary file, fsynced, renamed over it."""
    beside = path.with_name(".goutputstream-5T8EW1")
    _write(beside, text, os.O_CREAT | os.O_EXCL, sync=os.fsync)
    beside.rename(path)


def sed(path: Path, text: str) -> None:
    """`sed -i`: a temporary file beside it, and a rename."""
    beside = path.with_name("sedXbR3qk")
    _write(beside, text, os.O_CREAT | os.O_EXCL)
    beside.chmod(0o644)
    beside.rename(path)


def shell(path: Path, text: str) -> None:
    """`> file`, then `>> file` line by line: opened and closed each time."""
    _write(path, "", os.O_CREAT | os.O_TRUNC)
    for line in text.splitlines(keepends=True):
        _write(path, line, os.O_APPEND)


def slowly(path: Path, text: str) -> None:
    """Written in pieces with more silence between than a daemon waits for, and closed at the end."""
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            time.sleep(0.4)


ALL: dict[str, Save] = {
    save.__name__: save
    for save in (vim, vim_backupcopy, emacs, nano, vscode, vscode_atomic, jetbrains, gedit, sed, shell, slowly)
}
