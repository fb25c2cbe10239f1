"""One commit of any repository on this machine, read by git's plumbing: who made it, and its first line.

Not by pygit2: that is the git worker's, for the state root. Plumbing runs nothing that a repository's own
configuration names (hooks, pagers, signature programs, file system monitors), so that reading what an agent may have
written does no harm.
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
    """`{commit, author, subject}` of what a name stands for; None where it is no commit there. Raises OSError.

    `confine`: makes of a command line the one that is run, where the repository is not to be trusted.
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
