"""The search script for machines without ripgrep, with ripgrep's output format.

It is a process, not a thread: Python's regular expressions hold the interpreter's lock, so a bad pattern in a thread
would stop the whole daemon, and cannot be stopped itself. It imports nothing of Kheish: it runs isolated (`python -I
-S`).
"""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

_MAX_LINE = 64 * 1024  # bytes of a line that are searched
_MAX_FILE = 64 * 1024 * 1024  # bytes of a file that are searched
_MAX_IGNORE_FILE = 16 * 1024 * 1024
_IGNORE_FILES = (".gitignore", ".ignore", ".rgignore", ".git/info/exclude")
_MAX_COLUMNS = 500  # bytes of a line that are printed
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def main() -> int:
    """Return ripgrep's exit status: 0 with matches, 1 without, 2 for an invalid pattern."""
    options = _options()
    out = sys.stdout.buffer
    if options.ignore_files:
        for path in _special_ignore_files(options):
            out.write(os.fsencode(path) + b"\0")
            return 0
        return 1
    if options.files:
        for path, _, _ in _regular_files(options):
            out.write(os.fsencode(path) + b"\0")
        return 0
    try:
        text = re.escape(options.pattern) if options.fixed else options.pattern
        pattern = re.compile(text.encode(), re.IGNORECASE if options.ignore_case else 0)
    except re.error as error:
        print(f"regex parse error: {error}", file=sys.stderr)  # noqa: T201 - a script's own output
        return 2
    has_matches = False
    for path, file in _texts(options):
        with file:
            has_matches = _search(path, file, pattern, options, out) or has_matches
    return 0 if has_matches else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--ignore-files", action="store_true")
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--hidden", action="append", default=[])
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--ignore-case", action="store_true")
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--output", choices=["lines", "files", "counts"], default="lines")
    parser.add_argument("--stdin", action="store_true")
    parser.add_argument("pattern", nargs="?", default="")
    return parser.parse_args()


def _special_ignore_files(options: argparse.Namespace) -> Iterator[str]:
    """Yield the ignore files that are no small regular files; links count as what they lead to."""
    for folder, below, _, descriptor in os.fwalk(".", follow_symlinks=False):
        below[:] = sorted(name for name in below if name not in options.skip)
        for name in _IGNORE_FILES:
            try:
                status = os.stat(name, dir_fd=descriptor)
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_IGNORE_FILE:
                yield f"{folder}/{name}".removeprefix("./")


def _regular_files(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Yield path, open folder and name of each file below the current folder.

    Links are not followed, and a daemon's folders are not entered.
    """
    for folder, below, names, descriptor in os.fwalk(".", follow_symlinks=False):
        if _is_hidden(os.fstat(descriptor), options) or _is_state_root(descriptor):
            below[:] = []
            continue
        below[:] = sorted(name for name in below if name not in options.skip)
        for name in sorted(names):
            if name in options.skip:
                continue
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and not _is_hidden(status, options):
                path = f"{folder}/{name}"
                yield path.removeprefix("./"), descriptor, name


def _is_hidden(status: os.stat_result, options: argparse.Namespace) -> bool:
    return f"{status.st_dev}:{status.st_ino}" in options.hidden


def _is_state_root(folder: int) -> bool:
    """Return whether a folder is a state root, as `kheish.beneath.door` does; nothing of Kheish is imported here."""
    signs = (("format.yaml",), (".git",), (".kheish", ".git/kheish"))
    return all(any(_has(folder, name) for name in alternatives) for alternatives in signs)


def _has(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _texts(options: argparse.Namespace) -> Iterator[tuple[str, BinaryIO]]:
    if options.stdin:
        yield "<stdin>", sys.stdin.buffer
        return
    for path, folder, name in _regular_files(options):
        try:
            descriptor = os.open(name, _FLAGS, dir_fd=folder)
        except OSError:
            continue
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and not _is_hidden(status, options):
            yield path, os.fdopen(descriptor, "rb")
        else:
            os.close(descriptor)  # before it is a file: a folder cannot be one


def _search(path: str, file: BinaryIO, pattern: re.Pattern[bytes], options: argparse.Namespace, out: BinaryIO) -> bool:
    lines = _lines(file)
    hits = [at for at, text in enumerate(lines) if pattern.search(text)]
    if not hits:
        return False
    name = os.fsencode(path)
    if options.output != "files":
        name = name.replace(b"\n", b"//")  # records end with a newline; no path has `//`
    out.write(name + b"\0")
    if options.output == "counts":
        out.write(b"%d\n" % len(hits))
    if options.output != "lines":
        return True
    shown = set(hits)
    around = {near for at in hits for near in range(at - options.context, at + options.context + 1)}
    for place, at in enumerate(sorted(near for near in around if 0 <= near < len(lines))):
        text = lines[at]
        more = b" [... omitted end of long line]" if len(text) > _MAX_COLUMNS else b""
        start = name + b"\0" if place else b""
        out.write(start + b"%d%s" % (at + 1, b":" if at in shown else b"-") + text[:_MAX_COLUMNS] + more + b"\n")
    return True


def _lines(file: BinaryIO) -> list[bytes]:
    """Return the lines of a text; none of a binary file."""
    head = file.read(8192)
    if b"\0" in head:
        return []
    text = (head + file.read(_MAX_FILE)).removesuffix(b"\n")
    return [line[:_MAX_LINE].rstrip(b"\r") for line in text.split(b"\n")]


if __name__ == "__main__":
    sys.exit(main())
