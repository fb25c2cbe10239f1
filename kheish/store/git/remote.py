"""The remote of a state root, by the user's own git in a child process: so ssh agents and credential helpers work.

Nothing asks: there is no terminal, and a command that does not end in time is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kheish.errors import BackupFailed, Invalid
from kheish.store.git import command as git
from kheish.store.git.hold import BRANCH

#: seconds: a first push may carry years; a question to a dead host must end all the same
PUSH_TIMEOUT = 900.0
FETCH_TIMEOUT = 600.0
_ASK_TIMEOUT = 10.0
VERSIONS = "refs/tags/playbook/*:refs/tags/playbook/*"

_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_SAID = 600  # characters of git's own words that an error carries


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: the name of the remote, its address without credentials, and the branch there (a full ref)."""

    name: str
    url: str
    ref: str

    @property
    def tracking(self) -> str:
        """The ref here that remembers the branch there."""
        return f"refs/remotes/{self.name}/{self.ref.removeprefix('refs/heads/')}"


async def is_there(root: Path, name: str) -> bool:
    """Whether git knows a remote of that name. Raises BackupFailed where git cannot be asked."""
    return name in (await _git(root, "remote", timeout=_ASK_TIMEOUT))[1].split()


async def target(root: Path, name: str) -> Target:
    """The remote of that name. Raises BackupFailed where there is none."""
    if name.startswith("-"):
        raise BackupFailed(f"{name!r} is no name of a git remote.")
    code, url, said = await _git(root, "remote", "get-url", "--push", name, timeout=_ASK_TIMEOUT)
    if code != 0:
        raise BackupFailed(f"There is no git remote {name!r}: kheish backup add URL ({last_words(said)})")
    short = BRANCH.removeprefix("refs/heads/")
    _, upstream, _ = await _git(root, "config", f"branch.{short}.remote", timeout=_ASK_TIMEOUT)
    _, ref, _ = await _git(root, "config", f"branch.{short}.merge", timeout=_ASK_TIMEOUT)
    follows = upstream.strip() == name and ref.strip().startswith("refs/heads/")
    return Target(name, clean(url.strip()), ref.strip() if follows else BRANCH)


async def push(root: Path, to: Target, commit: str, *, timeout: float = PUSH_TIMEOUT) -> bool:
    """Push a commit to the branch, with the annotated tags that it reaches; never by force.

    False where the remote has what this commit does not hold. Raises BackupFailed.
    """
    words = ("push", "--porcelain", "--follow-tags", to.name, f"{commit}:{to.ref}")
    code, out, said = await _git(root, *words, timeout=timeout)
    if code == 0:
        return True
    for line in out.splitlines():
        is_ours = line.startswith("!") and line.split("\t")[1:2] == [f"{commit}:{to.ref}"]
        if is_ours and "[rejected]" in line:
            return False
    refused = [line.split("\t", 1)[1] for line in out.splitlines() if line.startswith("!\t")]
    raise BackupFailed(f"git push to {to.name} ({to.url}) failed: {last_words(' '.join(refused) or said, said)}")


async def fetch(root: Path, source: Target, *, timeout: float = FETCH_TIMEOUT) -> None:
    """Fetch the branch into `source.tracking`, and versions of Playbooks, which are tags. Raises BackupFailed.

    A tag that is here stays as it is: git refuses to replace it, which is no failure of the fetch.
    """
    words = ("fetch", "--quiet", "--no-tags", source.name, f"+{source.ref}:{source.tracking}")
    code, _, said = await _git(root, *words, timeout=timeout)
    if code != 0:
        raise BackupFailed(f"git fetch from {source.name} ({source.url}) failed: {last_words(said)}")
    code, _, said = await _git(root, "fetch", "--no-tags", source.name, VERSIONS, timeout=timeout)
    if code != 0 and "would clobber existing tag" not in said:
        raise BackupFailed(f"git fetch of tags from {source.name} ({source.url}) failed: {last_words(said)}")


def content(repository: Path, path: str) -> bytes:
    """A file as the daemon's branch has it in another repository, bare or not; in a clone, as that was fetched. Blocks.
    Raises Invalid."""
    said = ""
    for ref in (f"refs/remotes/origin/{BRANCH.removeprefix('refs/heads/')}", BRANCH):
        try:
            done = git.run(repository, ("cat-file", "blob", f"{ref}:{path}"), timeout=_ASK_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Invalid(f"git cannot be asked about {repository}: {error}") from error
        if done.returncode == 0:
            return done.stdout
        said = last_words(done.stderr.decode(errors="replace"))
    raise Invalid(f"{repository} is no repository that a state root with {path} was pushed to ({said}).")


def clean(text: str) -> str:
    """The text without the credentials that an address in it may carry."""
    return _CREDENTIALS.sub("//", text)


def last_words(*said: str) -> str:
    """What git said, on one line: its end where that is long, for there it says why."""
    lines = dict.fromkeys(" ".join(line.split()) for text in said for line in clean(text).splitlines())
    text = "; ".join(line for line in lines if line)
    return (text if len(text) <= _SAID else f"…{text[-_SAID:]}") or "it said nothing"


async def _git(root: Path, *words: str, timeout: float) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. Raises BackupFailed where git cannot be run or does not end in time."""
    try:
        process = await git.start(root, ("-c", "gc.auto=0", "-c", "maintenance.auto=false", *words))
    except OSError as error:
        raise BackupFailed(f"git cannot be run: {error}") from error
    try:
        async with asyncio.timeout(timeout):
            out, said = await process.communicate()
    except TimeoutError:
        raise BackupFailed(
            f"git {words[0]} did not end within {timeout:g} s and was ended. Does it wait for a password or a host "
            f"key? Try it by hand: git -C {root} {words[0]}"
        ) from None
    finally:
        if process.returncode is None:  # with all that it started: ssh, a credential helper, index-pack
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace"), said.decode(errors="replace")
