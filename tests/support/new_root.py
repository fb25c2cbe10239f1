"""New state roots: copies of the one that `kheish init` made for this process, each with ids and a token of its own.

`kheish init` takes 0.2 s of CPU time, and the suite needs hundreds of roots.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kheish import ids
from kheish.store.git import root_format
from tests.support import forking

_BRANCH, _LAST = ".git/refs/heads/main", ".git/refs/kheish/last"


@dataclass(frozen=True)
class First:
    """The root that is copied, without its commit, and the environment in which git makes that commit again."""

    root: Path
    env: dict[str, str]


def copy(root: Path) -> None:
    """Make `root`, which does not exist, what `kheish init` makes of it."""
    first = _first(forking.umask())
    shutil.copytree(first.root, root, symlinks=True)
    about = root_format.Format(root_format.FORMAT, ids.new("root"), ids.new("inc"))
    (root / "format.yaml").write_bytes(root_format.format_file(about))
    (root / ".kheish" / "token").write_text(f"kheish_{secrets.token_urlsafe(32)}\n")
    subprocess.run(["git", "commit", "-qam", "new state root"], cwd=root, env=first.env, check=True)
    shutil.copyfile(root / _BRANCH, root / _LAST)


@cache
def _first(umask: int) -> First:
    """Return the root that is copied, which was made with this umask."""
    folder = Path(tempfile.mkdtemp(prefix="kheish-root-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root, env = folder / "state", forking.environment(folder / "home")
    done = forking.run(("init", str(root)), env=env, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    persons = _git(root, env, "log", "-1", "--format=%an%n%ae%n%cn%n%ce")
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    for id in _git(root, env, "rev-parse", "HEAD", "HEAD:", "HEAD:format.yaml"):
        (root / ".git" / "objects" / id[:2] / id[2:]).unlink()
    (root / _BRANCH).unlink()
    (root / _LAST).unlink()
    shutil.rmtree(root / ".git" / "logs")
    return First(root, {**os.environ, **dict(zip(names, persons, strict=True))})


def _git(root: Path, env: dict[str, str], *words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=root, env=env, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()
