"""The only place that starts git, shielded from the caller's environment and from configuration.

A git hook sets GIT_DIR and more for every process that it starts. A configuration may name programs, colours and files
that change git's output. None of this reaches a git process started here. Settings for connections (ssh, credential
helpers, proxies) stay, since remotes belong to the user.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

#: the identity of commits in a workspace if neither kheish.yaml nor git names any
NAME, EMAIL = "Kheish agent", "agent@kheish.invalid"
#: git's variables for connections, and for the place of the user's own configuration
_KEPT = frozenset(
    (
        "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ASKPASS", "GIT_PROXY_COMMAND", "GIT_PROTOCOL",
        "GIT_ALLOW_PROTOCOL", "GIT_SSL_NO_VERIFY", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
        "GIT_SSL_VERSION", "GIT_SSL_CIPHER_LIST", "GIT_HTTP_USER_AGENT", "GIT_HTTP_LOW_SPEED_LIMIT",
        "GIT_HTTP_LOW_SPEED_TIME", "GIT_HTTP_PROXY_AUTHMETHOD", "GIT_HTTP_MAX_REQUESTS", "GIT_EXEC_PATH",
        "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    )
)  # fmt: skip
#: settings for connections that GIT_CONFIG_COUNT may pass
_KEPT_SETTINGS = ("http.", "https.", "credential.", "url.", "ssh.", "core.sshcommand", "safe.", "protocol.", "remote.")
#: no programs from a configuration, and nothing that changes the output. The last setting counts.
_SETTINGS = (
    ("core.hooksPath", os.devnull), ("core.fsmonitor", "false"), ("core.pager", "cat"), ("color.ui", "false"),
    ("column.ui", "never"), ("log.showSignature", "false"), ("log.decorate", "false"), ("log.follow", "false"),
    ("log.mailmap", "false"), ("mailmap.file", ""), ("mailmap.blob", ""), ("blame.ignoreRevsFile", ""),
    ("blame.markIgnoredLines", "false"), ("blame.markUnblamableLines", "false"), ("diff.noprefix", "false"),
    ("diff.mnemonicPrefix", "false"), ("diff.relative", "false"),
    ("i18n.logOutputEncoding", "UTF-8"), ("status.relativePaths", "false"), ("status.branch", "false"),
    ("status.showStash", "false"), ("core.quotePath", "true"), ("core.abbrev", "auto"),
    ("push.recurseSubmodules", "no"), ("fetch.recurseSubmodules", "false"), ("submodule.recurse", "false"),
    ("push.gpgSign", "false"),
)  # fmt: skip


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which git works in the given folder, speaks English, prompts for nothing, and runs no
    hooks.

    git passes none of these settings on to a remote that is a local folder: its own hooks still run.
    """
    given = os.environ if environ is None else environ
    variables = {name: value for name, value in given.items() if not name.startswith("GIT_") or name in _KEPT}
    settings = [*_connection(given), *_SETTINGS]
    for at, (name, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{at}": name, f"GIT_CONFIG_VALUE_{at}": value}
    return {
        **variables,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "LC_ALL": "C",
        "LANGUAGE": "C",
    }


def _connection(given: Mapping[str, str]) -> list[tuple[str, str]]:
    said = given.get("GIT_CONFIG_COUNT", "")
    pairs = [
        (given.get(f"GIT_CONFIG_KEY_{at}", ""), given.get(f"GIT_CONFIG_VALUE_{at}", ""))
        for at in range(min(int(said), 1000) if said.isascii() and said.isdigit() else 0)
    ]
    return [pair for pair in pairs if pair[0].lower().startswith(_KEPT_SETTINGS)]


def run(
    folder: Path | None,
    words: Sequence[str | Path],
    *,
    timeout: float | None = None,
    asks: bool = False,
    more: Mapping[str, str] | None = None,
    confine: Callable[[Sequence[str | Path]], Sequence[str | Path]] = list,
    given: bytes | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder and return its output. `asks` allows prompts at the terminal. `more` adds variables to
    `environment()`. `confine` turns a command line into the one to run. `given` is its standard input. Raises OSError,
    TimeoutExpired."""
    source: Any = {"stdin": None if asks else subprocess.DEVNULL} if given is None else {"input": given}
    return subprocess.run(  # nosec B607  # git is the user's own
        confine(["git", *words]),
        cwd=folder,
        env={**environment(), **({"GIT_TERMINAL_PROMPT": "1"} if asks else {}), **(more or {})},
        **source,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def popen(folder: Path, words: Sequence[str], *, stderr: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start git in a folder, in its own process group, with its output in a pipe. Raises OSError."""
    return subprocess.Popen(  # nosec B607
        ["git", *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        process_group=0,
    )


#: no configuration but the repository's own, for settings that cannot be reset one by one
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


async def start(
    folder: Path, words: Sequence[str], *, more: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start git in a folder on the event loop, in its own session, with pipes. Raises OSError."""
    import asyncio  # here, since the git worker has no loop and no need of it

    return await asyncio.create_subprocess_exec(
        "git", *words,
        cwd=folder, env={**environment(), **(more or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def identity(folder: Path) -> tuple[str, str]:
    """Return the name and address of commits in a folder by git's configuration; empty if unset.

    Only reads: `git config` runs nothing that a repository names. Blocks.
    """
    return setting(folder, "user.name"), setting(folder, "user.email")


def setting(folder: Path, name: str) -> str:
    """Return a setting of git's configuration for a folder; empty if unset. Blocks."""
    try:
        done = run(folder, ("config", "--get", name), timeout=5.0, more={"GIT_CONFIG_COUNT": "0"})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
