"""The editors themselves, where they are installed: a save is one change, in force, committed, and nothing is left."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import forking
from tests.support.daemon import Daemon, git, until
from tests.system.test_hand_edits import PERSONA, changes, in_force

#: an editor's own switches, then how it is told to replace the word `before`
Edit = Callable[[Path, str], None]


def _do(path: Path, *words: str) -> None:
    env = {**os.environ, "TERM": "xterm", "HOME": str(path.parent.parent.parent)}
    subprocess.run(words, cwd=path.parent, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _vim(backupcopy: str) -> Edit:
    def edit(path: Path, word: str) -> None:
        options = f"set backup writebackup backupcopy={backupcopy} backupskip= backupdir=."
        _do(path, "vim", "-u", "NONE", "-N", "-es", "-c", options, "-c", f"%s/before/{word}/", "-c", "wq", path.name)

    return edit


def _emacs(path: Path, word: str) -> None:
    lisp = (
        "(setq backup-enable-predicate (lambda (_) t) vc-handled-backends nil)",
        f'(find-file "{path.name}")',
        f'(progn (re-search-forward "before") (replace-match "{word}") (do-auto-save) (save-buffer))',
    )
    _do(path, "emacs", "-Q", "--batch", *(word for form in lisp for word in ("--eval", form)))


def _sed(path: Path, word: str) -> None:
    _do(path, "sed", "-i", f"s/before/{word}/", path.name)


def _ed(path: Path, word: str) -> None:
    subprocess.run(["ed", "-s", path.name], cwd=path.parent, input=f"%s/before/{word}/\nw\nq\n".encode(), check=True)


def _nano(path: Path, word: str) -> None:
    """Under a terminal: a new line at the top, ^O to write it, ^X to leave."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm", "HOME": str(path.parent.parent.parent)}
        os.execvp("nano", ["nano", "--ignorercfiles", "+5,1", str(path)])
    for expected, keys in ((b"line", f"{word}\n".encode()), (word.encode(), b"\x0f"), (b"Write", b"\r"),
                           (b"Wrote", b"\x18")):  # fmt: skip
        _read_until(terminal, expected)
        os.write(terminal, keys)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)


def _read_until(terminal: int, expected: bytes, timeout: float = 10) -> None:
    seen, deadline = b"", time.monotonic() + timeout
    while expected not in seen:
        assert forking.is_readable(terminal, max(0.0, deadline - time.monotonic())), f"{expected!r} is not in {seen!r}"
        seen += os.read(terminal, 65536)


EDITORS: dict[str, Edit] = {
    "vim-rename": _vim("no"), "vim-copy": _vim("yes"), "emacs": _emacs, "nano": _nano, "sed": _sed, "ed": _ed,
}  # fmt: skip


@pytest.mark.parametrize("name", EDITORS)
def test_a_real_editor_makes_one_change(shared: Daemon, name: str) -> None:
    if shutil.which(name.partition("-")[0]) is None:
        pytest.skip(f"{name} is not installed")
    path, word = f"personas/by-{name}.md", f"saved-{name}"
    shared.write(path, PERSONA.format(text="before"))
    until(lambda: in_force(shared, path, "before"), what="it is there")
    EDITORS[name](shared.root / path, word)
    until(lambda: in_force(shared, path, word), 15, what="the edit is in force")
    assert in_force(shared, path, "third line")
    until(lambda: word in git(shared.root, "show", f"HEAD:{path}", check=False), what="it is committed")
    shared.write("personas/after.md", PERSONA.format(text=f"after {name}"))
    until(lambda: in_force(shared, "personas/after.md", f"after {name}"), what="a later change")
    until(lambda: changes(shared)[-1][0] == "personas/after.md", what="the later change is in the journal")
    assert [change for one, change in changes(shared) if one == path] == ["added", "changed"]
    assert git(shared.root, "status", "--porcelain", "--", f"{path}*") == "", "its backup is neither seen nor committed"
    (shared.root / f"{path}~").unlink(missing_ok=True)
