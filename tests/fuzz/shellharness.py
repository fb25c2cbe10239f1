"""Runs command lines where they can do no harm, and tells what ran and which files changed.

`python -m tests.fuzz.shellharness NAME…` is a server inside bubblewrap: a line of JSON in (argv), a line of JSON out.
PATH holds recorders only: each writes its argv to a file of its own. Names that bash does not find are recorded too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

HOME = "/tmp/ho me"  # nosec B108  # in a /tmp of the harness's own
RECORDER = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$@" > "$RECORDS/$$"\n'
NOT_FOUND = '() { for word; do echo -ne "=${word//\\\\/\\\\\\\\}\\0"; done > "$RECORDS/n$BASHPID"; }'
#: files of the workspace: names that look like options or code, and links that lead elsewhere
FILES = (
    "a",
    "b.py",
    "-v",
    "-exec",
    "--output=x",
    "touch pwned",
    "$x",
    ";touch",
    "docs/a",
    "docs/-n",
    "src/y",
    ".git/config",
)
LINKS = {"docs/l": "../src/y", "g": ".git", "docs/s": "../src"}


@dataclass(frozen=True)
class Ran:
    """What a command line did: argvs of what ran or was looked for, and paths of the workspace that changed."""

    argvs: tuple[tuple[str, ...], ...]
    changed: tuple[str, ...]
    overdue: bool


class Harness:
    """A server of this module, in bubblewrap where it works."""

    def __init__(self, programs: Iterable[str]) -> None:
        words = [sys.executable, "-m", "tests.fuzz.shellharness", *programs]
        wrap = (
            "bwrap",
            "--ro-bind",
            "/",
            "/",
            "--tmpfs",
            "/tmp",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--unshare-all",
            "--die-with-parent",
        )  # nosec B108
        if shutil.which("bwrap"):
            words = [*wrap, "--bind", str(Path.cwd()), str(Path.cwd()), *words]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Harness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:  # closes both pipes, at which the server ends, and waits
            pass

    def run(self, argv: Iterable[str], seconds: float = 20.0) -> Ran:
        """Run it in a fresh workspace, for so long at most."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([seconds, *argv]).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ran(tuple(map(tuple, answer["argvs"])), tuple(answer["changed"]), answer["overdue"])


def main() -> None:
    """Serve until stdin ends."""
    base = Path("/tmp/kheish-fuzz")  # nosec B108
    shutil.rmtree(base, ignore_errors=True)
    (base / "bin").mkdir(parents=True)
    Path(HOME).mkdir(exist_ok=True)
    for program in sys.argv[1:]:
        (base / "bin" / program).write_text(RECORDER)
        (base / "bin" / program).chmod(0o755)
    for line in sys.stdin.buffer:
        answer = _serve(base, *json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _serve(base: Path, seconds: float, *argv: str) -> dict[str, Any]:
    space, records = base / "w", base / "r"
    before = _fresh(space)
    shutil.rmtree(records, ignore_errors=True)
    records.mkdir()
    env = {
        "PATH": str(base / "bin"), "HOME": HOME, "PWD": str(space), "LANG": "C.UTF-8", "TERM": "dumb",
        "RECORDS": str(records), "BASH_FUNC_command_not_found_handle%%": NOT_FOUND,
    }  # fmt: skip
    encoded = [os.fsencode(word) for word in argv]
    process = subprocess.Popen(
        encoded, executable="/bin/bash", cwd=space, env=env, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    overdue = False
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        overdue = True
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    argvs = [_argv(path) for path in sorted(records.iterdir())]
    after = _seen(space)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return {"argvs": argvs, "changed": changed, "overdue": overdue}


def _argv(record: Path) -> list[str]:
    words = [word.decode(errors="backslashreplace") for word in record.read_bytes().split(b"\0")[:-1]]
    return [word[1:] for word in words] if record.name.startswith("n") else words


def _fresh(space: Path) -> dict[str, str]:
    shutil.rmtree(space, ignore_errors=True)
    for name in FILES:
        path = space / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("touch pwned\n")
    for name, target in LINKS.items():
        (space / name).symlink_to(target)
    return _seen(space)


def _seen(space: Path) -> dict[str, str]:
    seen = {}
    for folder, folders, files in os.walk(space):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            is_link = os.path.islink(path)
            what = os.readlink(path) if is_link else Path(path).read_text(errors="replace") if name in files else "/"
            shown = os.path.relpath(path, space).encode(errors="surrogateescape").decode(errors="backslashreplace")
            seen[shown] = f"{is_link}:{what}"
    return seen


if __name__ == "__main__":
    main()
