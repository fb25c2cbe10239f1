"""The checks of `kheish doctor` in a state root: its format, who serves it, the token, git's settings, definitions."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kheish.authoring import checking, sources
from kheish.client import discovery
from kheish.config import Config
from kheish.domain.definitions import Definition
from kheish.domain.routes import readiness
from kheish.errors import FileRefused, KheishError
from kheish.offline import suggesting
from kheish.offline.doctor.machine import Finding
from kheish.store import door, lock, secrets
from kheish.store.edits import definitions as reading
from kheish.store.edits.problems import Problem
from kheish.store.git import command as git, root_format

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for elsewhere


def state_root(root: Path) -> Iterator[Finding]:
    """Look at the format of the state root; on a new machine there is none yet."""
    if not root.exists() and root == discovery.default_root():
        yield Finding("note", f"there is no state root yet at {root}",
                      "Create one with `kheish init DIR`, or pass yours with --state-root.")  # fmt: skip
        return
    try:
        found = root_format.open_root(root)
    except KheishError as error:
        yield Finding("error", error.detail, "Or pass another with --state-root.")
        return
    yield Finding("ok", f"state root {root} (format {found.version}, {found.root_id})")
    shut = [place for place in (root, root / ".git", lock.private(root)) if place.exists()]
    shut = [place for place in shut if not os.access(place, os.W_OK)]
    if shut:
        yield Finding("error", f"{shut[0]} is not writable, so no daemon can serve it",
                      "Mount it for writing, or run the daemon as its owner.")  # fmt: skip


def config(root: Path) -> Config:
    """Read kheish.yaml. Returns the defaults if it cannot be read (`definitions` says why)."""
    try:
        return reading.parse(Config, door.begin(root, "kheish.yaml"), "kheish.yaml").value or Config()
    except (OSError, FileRefused):
        return Config()


def daemon(root: Path) -> Iterator[Finding]:
    """Report whether a daemon holds the lock, and whether it answers."""
    if not _held(root):
        yield Finding("ok", f"no daemon serves it; `kheish serve --state-root {root}` starts one")
        return
    try:
        noted = json.loads((root / ".kheish" / "daemon.json").read_bytes())
        url, pid = noted["url"], noted["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Finding("warning", "a daemon holds the lock, but has not published its address yet",
                      "Wait a moment, then check its stderr.")  # fmt: skip
        return
    try:
        with _DIRECT.open(f"{url}/readyz", timeout=5):
            yield Finding("ok", f"a daemon serves it: pid {pid}, {url}")
    except urllib.error.HTTPError as error:
        yield Finding("warning", f"daemon {pid} is not ready: {_detail(error)}", "Wait; see `kheish status`.")
    except OSError as error:
        yield Finding("error", f"daemon {pid} holds the lock, but does not respond at {url}: {error}",
                      "Check its stderr; `kheish stop` ends it.")  # fmt: skip


def _held(root: Path) -> bool:
    try:
        descriptor = os.open(lock.private(root) / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"


def token(root: Path) -> Iterator[Finding]:
    path = root / ".kheish" / "token"
    try:
        found = path.stat()
    except FileNotFoundError:
        yield Finding("ok", "no token yet; the daemon creates one when it starts")
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        yield Finding("error", f"{path} is readable by other users (mode {mode:o}): the token gives full access",
                      f"chmod 600 {path}; if others may have read it, delete it and restart the daemon.")  # fmt: skip
    else:
        yield Finding("ok", f"the token is private (mode {mode:o})")


def repository(root: Path) -> Iterator[Finding]:
    """Report what git's own settings mean for the root: the author of edits, hooks, where it is pushed to."""
    name, email = git.identity(root)
    if name and email:
        yield Finding("ok", f"your edits are committed as {name} <{email}>")
    else:
        yield Finding("warning", "git has no identity for you: edits are committed under your login name",
                      'git config --global user.name "…" && git config --global user.email "…"')  # fmt: skip
    if git.setting(root, "gc.auto") != "0":
        yield Finding("warning", "git's settings for a state root are missing", f"kheish init {root}")
    folder = root / ".git" / "hooks"
    hooks = sorted(one.name for one in folder.glob("*") if one.suffix != ".sample" and os.access(one, os.X_OK))
    if hooks or git.setting(root, "core.hooksPath"):
        named = ", ".join(hooks) or "core.hooksPath"
        yield Finding("warning", f"git hooks ({named}) run on your commits, but not on the daemon's",
                      "Do not rely on them to check what is committed here.")  # fmt: skip
    remotes = _git(root, "remote").split()
    if remotes:
        yield Finding("ok", f"pushed to: {', '.join(remotes)} (`git push` is a complete backup)")
    else:
        yield Finding("warning", "there is no backup: the repository has no remote",
                      f"kheish backup add URL --state-root {root}")  # fmt: skip


def _git(root: Path, *words: str) -> str:
    try:
        done = git.run(root, words)
    except OSError:
        return ""
    return done.stdout.decode(errors="replace").strip()


def definitions(root: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check what users wrote, as the daemon checks it, and whether each route could be used."""
    found = checking.check(sources.read_all(root), {})
    problems = [problem for path in sorted(found.problems) for problem in found.problems[path]]
    for problem in problems:
        mend = "Fix it; the last valid version stays in effect." if problem.severity == "error" else ""
        yield Finding(problem.severity, f"{_place(problem)}: {problem.message}", mend)
    if not problems:
        yield Finding("ok", "all definitions are valid")
    routes = [one for _, one in sorted(found.world.items()) if one.kind == "routes"]
    yield from _routes(routes, environ, _slots(root, environ))


def _slots(root: Path, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return each slot of the vault, with the reason why this user's identity does not open it."""
    found: dict[str, str | None] = {}
    for slot, raw in secrets.read_all(root).items():
        try:
            secrets.decrypt(raw, secrets.read_identity(secrets.identity_path(environ)))
            found[slot] = None
        except KheishError as error:
            found[slot] = error.detail
    return found


def _routes(
    routes: Sequence[Definition], environ: Mapping[str, str], slots: Mapping[str, str | None]
) -> Iterator[Finding]:
    for one in routes:
        reason = readiness(one.id, one.value, environ, slots)
        if reason is None:
            yield Finding("ok", f"route {one.id}: {one.value.driver}, {one.value.model or 'a script'}")
        else:
            yield Finding("warning", reason, "A running daemon has the environment that it was started with.")
    if not routes:
        yield Finding("warning", "there is no route to a model", "routes/README.md in the state root shows one.")
        for suggestion in suggesting.look(environ):
            yield Finding("ok", suggestion.found, f"{suggestion.command} (while the daemon serves)")


def _place(problem: Problem) -> str:
    return ":".join(str(part) for part in (problem.path, problem.line, problem.column) if part)
