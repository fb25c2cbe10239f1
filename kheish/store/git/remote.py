"""The remote of a state root, reached through the user's own git in a child process, so that ssh agents and credential
helpers work.

Nothing prompts, since there is no terminal. A command that exceeds its timeout is killed.
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

#: seconds: a first push may carry years of history; a query to a dead host must end as well
PUSH_TIMEOUT = 900.0
FETCH_TIMEOUT = 600.0
_ASK_TIMEOUT = 10.0
VERSIONS = "refs/tags/playbook/*:refs/tags/playbook/*"

_CREDENTIALS = re.compile(r"//[^/@\s]+@")
_SAID = 600  # characters of git's own output in an error


@dataclass(frozen=True, slots=True)
class Target:
    """A push target: the name of the remote, its address without credentials, and the branch there (a full ref)."""

    name: str
    url: str
    ref: str

    @property
    def tracking(self) -> str:
        """The local ref that tracks the remote branch."""
        return f"refs/remotes/{self.name}/{self.ref.removeprefix('refs/heads/')}"


async def is_there(root: Path, name: str) -> bool:
    """Return whether git has a remote of that name. Raises BackupFailed if git cannot run."""
    return name in (await _git(root, "remote", timeout=_ASK_TIMEOUT))[1].split()


async def target(root: Path, name: str) -> Target:
    """Return the remote of that name. Raises BackupFailed if it does not exist."""
    if name.startswith("-"):
        raise BackupFailed(f"{name!r} is not a valid name of a git remote.")
    code, url, errors = await _git(root, "remote", "get-url", "--push", name, timeout=_ASK_TIMEOUT)
    if code != 0:
        raise BackupFailed(f"There is no git remote {name!r}: kheish backup add URL ({last_words(errors)})")
    short = BRANCH.removeprefix("refs/heads/")
    _, upstream, _ = await _git(root, "config", f"branch.{short}.remote", timeout=_ASK_TIMEOUT)
    _, ref, _ = await _git(root, "config", f"branch.{short}.merge", timeout=_ASK_TIMEOUT)
    follows = upstream.strip() == name and ref.strip().startswith("refs/heads/")
    return Target(name, clean(url.strip()), ref.strip() if follows else BRANCH)


async def push(root: Path, to: Target, commit: str, *, timeout: float = PUSH_TIMEOUT) -> bool:
    """Push a commit to the branch, with the annotated tags that it reaches; never by force.

    Return False if the remote has commits that this commit does not contain. Raises BackupFailed.
    """
    words = ("push", "--porcelain", "--follow-tags", to.name, f"{commit}:{to.ref}")
    code, out, errors = await _git(root, *words, timeout=timeout)
    if code == 0:
        return True
    for line in out.splitlines():
        is_ours = line.startswith("!") and line.split("\t")[1:2] == [f"{commit}:{to.ref}"]
        if is_ours and "[rejected]" in line:
            return False
    refused = [line.split("\t", 1)[1] for line in out.splitlines() if line.startswith("!\t")]
    raise BackupFailed(f"git push to {to.name} ({to.url}) failed: {last_words(' '.join(refused) or errors, errors)}")


async def fetch(root: Path, source: Target, *, timeout: float = FETCH_TIMEOUT) -> None:
    """Fetch the branch into `source.tracking`, and the tags, which are versions of Playbooks. Raises BackupFailed.

    An existing tag stays as it is: git refuses to replace it, which does not count as a failed fetch.
    """
    words = ("fetch", "--quiet", "--no-tags", source.name, f"+{source.ref}:{source.tracking}")
    code, _, errors = await _git(root, *words, timeout=timeout)
    if code != 0:
        raise BackupFailed(f"git fetch from {source.name} ({source.url}) failed: {last_words(errors)}")
    code, _, errors = await _git(root, "fetch", "--no-tags", source.name, VERSIONS, timeout=timeout)
    if code != 0 and "would clobber existing tag" not in errors:
        raise BackupFailed(f"git fetch of tags from {source.name} ({source.url}) failed: {last_words(errors)}")


def content(repository: Path, path: str) -> bytes:
    """Return a file from the daemon's branch in another repository: bare, with a work tree, or a clone that has fetched
    the branch. Blocks. Raises Invalid."""
    errors = ""
    for ref in (f"refs/remotes/origin/{BRANCH.removeprefix('refs/heads/')}", BRANCH):
        try:
            done = git.run(repository, ("cat-file", "blob", f"{ref}:{path}"), timeout=_ASK_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Invalid(f"git cannot read {repository}: {error}") from error
        if done.returncode == 0:
            return done.stdout
        errors = last_words(done.stderr.decode(errors="replace"))
    raise Invalid(f"{repository} is not a repository that a state root with {path} was pushed to ({errors}).")


def clean(text: str) -> str:
    """Return the text without the credentials of addresses in it."""
    return _CREDENTIALS.sub("//", text)


def last_words(*outputs: str) -> str:
    """Return git's output on one line; of a long output only the end, which gives the reason."""
    lines = dict.fromkeys(" ".join(line.split()) for text in outputs for line in clean(text).splitlines())
    text = "; ".join(line for line in lines if line)
    return (text if len(text) <= _SAID else f"…{text[-_SAID:]}") or "it said nothing"


async def _git(root: Path, *words: str, timeout: float) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr. Raises BackupFailed if git cannot run or exceeds its timeout."""
    try:
        process = await git.start(root, ("-c", "gc.auto=0", "-c", "maintenance.auto=false", *words))
    except OSError as error:
        raise BackupFailed(f"git cannot run: {error}") from error
    try:
        async with asyncio.timeout(timeout):
            out, errors = await process.communicate()
    except TimeoutError:
        raise BackupFailed(
            f"git {words[0]} did not end within {timeout:g} s and was stopped. Does it wait for a password or a host "
            f"key? Try it by hand: git -C {root} {words[0]}"
        ) from None
    finally:
        if process.returncode is None:  # with its children: ssh, a credential helper, index-pack
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(errors="replace"), errors.decode(errors="replace")
