"""Starts git, the only place that does: no caller's environment and no configuration changes what it does.

A git hook sets GIT_DIR and more for all that it starts, and a configuration may name programs, colours and files that
change what git prints. None of it reaches a git of ours. What a connection needs (ssh, helpers of credentials, proxies)
stays, for remotes are the user's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

#: of commits in a workspace, where neither kheish.yaml nor git names anybody
NAME, EMAIL = "Kheish agent", "agent@kheish.invalid"
#: variables of git that say how to connect, and where the user's own configuration is
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
#: settings that may come by GIT_CONFIG_COUNT: the same, of a connection
_KEPT_SETTINGS = ("http.", "https.", "credential.", "url.", "ssh.", "core.sshcommand", "safe.", "protocol.", "remote.")
#: no programs that a configuration names; nothing that changes what is printed. The last one counts.
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
    """Return the environment for a git that works where it is told to, speaks English, asks nobody, and runs no hooks.

    git passes none of the settings on to a remote that is a folder here, whose own hooks go on to run.
    """
    given = os.environ if environ is None else environ
    kept = {name: value for name, value in given.items() if not name.startswith("GIT_") or name in _KEPT}
    settings = [*_connection(given), *_SETTINGS]
    for at, (name, value) in enumerate(settings):
        kept |= {f"GIT_CONFIG_KEY_{at}": name, f"GIT_CONFIG_VALUE_{at}": value}
    return {
        **kept,
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
        for at in range(min(int(said), 1000) if said.isdecimal() else 0)
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
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder and return what it printed. `asks`: it may, at the terminal. `more`: variables beside
    `environment()`. `confine`: makes of a command line the one that is run. Raises OSError, TimeoutExpired."""
    return subprocess.run(  # nosec B607  # git is the user's own
        confine(["git", *words]),
        cwd=folder,
        env={**environment(), **({"GIT_TERMINAL_PROMPT": "1"} if asks else {}), **(more or {})},
        stdin=None if asks else subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def popen(folder: Path, words: Sequence[str], *, stderr: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start git in a folder, in a process group of its own, with its output in a pipe. Raises OSError."""
    return subprocess.Popen(  # nosec B607
        ["git", *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        process_group=0,
    )


#: no configuration but the repository's own: for what lets no single setting be taken back
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


async def start(
    folder: Path, words: Sequence[str], *, more: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start git in a folder on the event loop, in a session of its own, with pipes. Raises OSError."""
    import asyncio  # here, since the git worker has no loop and no need of it

    return await asyncio.create_subprocess_exec(
        "git", *words,
        cwd=folder, env={**environment(), **(more or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def identity(folder: Path) -> tuple[str, str]:
    """Return the name and address that commits in a folder have by git's configuration; empty where it has none.

    Only reads: `git config` runs nothing that a repository names. Blocks.
    """
    return setting(folder, "user.name"), setting(folder, "user.email")


def setting(folder: Path, name: str) -> str:
    """Return a setting as git's configuration has it for a folder; empty where it has none. Blocks."""
    try:
        done = run(folder, ("config", "--get", name), timeout=5.0, more={"GIT_CONFIG_COUNT": "0"})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
