"""A commit of any local repository, read by git's plumbing: its author and its first line.

pygit2 is not used here: it belongs to the git worker, for the state root. Plumbing runs nothing that a repository's own
configuration names (hooks, pagers, signature programs, file system monitors). So it is safe to read a repository that
an agent may have written.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from kheish.store.git import command as git

Confine = Callable[[Sequence[str | Path]], Sequence[str | Path]]
TIMEOUT = 10.0
_QUIET = {
    "HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1",
}  # fmt: skip


def read(folder: Path, ref: str, confine: Confine | None = None) -> dict[str, str] | None:
    """Return `{commit, author, subject}` of a revision; None if it is no commit there. Raises OSError.

    `confine` turns a command line into the one to run, for an untrusted repository.
    """
    name = f"{ref}^{{commit}}"
    id = (_git(folder, confine, "rev-parse", "--verify", "--quiet", "--end-of-options", name) or "").strip()
    raw = _git(folder, confine, "cat-file", "commit", id) if id else None
    if raw is None:
        return None
    head, _, message = raw.partition("\n\n")
    author = next((line for line in head.splitlines() if line.startswith("author ")), "author ")
    return {
        "commit": id,
        "author": author.removeprefix("author ").rpartition(">")[0] + ">",
        "subject": message.strip().partition("\n")[0][:200],
    }


def _git(folder: Path, confine: Confine | None, *words: str) -> str | None:
    try:
        done = git.run(folder, words, timeout=TIMEOUT, more=_QUIET, confine=confine or list)
    except (subprocess.TimeoutExpired, ValueError) as error:  # ValueError: a NUL in the name
        raise OSError(str(error)) from error
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
