"""Who wrote each line of a file: by the user's own git in a child process, for it may read much history."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kheish.errors import NotFound, Unavailable
from kheish.store.git import command as git
from kheish.store.git import remote

_TIMEOUT = 30.0  # seconds


async def lines(root: Path, commit: str, path: str) -> list[dict[str, Any]]:
    """`{line, text, commit, author, time, summary}` of each line of a file as a commit has it.

    Raises NotFound where the commit has no such file, Unavailable where git cannot say it in time.
    """
    if commit.startswith("-"):
        raise NotFound(f"{commit!r} is not a commit.")
    options = ("--no-textconv", "--line-porcelain", "--ignore-revs-file=")
    words = ("--no-optional-locks", "-c", f"safe.directory={root}", "blame", *options, commit, "--", path)
    try:
        process = await git.start(root, words, more=git.ALONE)
    except OSError as error:
        raise Unavailable(f"git cannot be run: {error}") from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, said = await process.communicate()
    except TimeoutError:
        raise Unavailable(f"git did not answer within {_TIMEOUT:g} s: git -C {root} blame {path}") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        text = said.decode(errors="replace")
        if "no such path" in text:
            raise NotFound(f"There was no file {path} at commit {commit[:12]}.")
        raise Unavailable(f"git blame failed: {remote.last_words(text)}")
    return list(parse(out.decode(errors="replace")))


def parse(text: str) -> Iterator[dict[str, Any]]:
    """What `git blame --line-porcelain` prints: for each line its commit, fields, and after a tab the line itself."""
    commit, number, fields = "", 0, dict[str, str]()
    for line in text.split("\n"):
        if line.startswith("\t"):
            yield {
                "line": number,
                "text": line[1:],
                "commit": commit,
                "author": fields["author"],
                "time": int(fields["author-time"]),
                "summary": fields["summary"],
            }
            commit, fields = "", {}
        elif not commit:
            commit, _, rest = line.partition(" ")
            number = int(rest.split()[1]) if rest else 0
        else:
            key, _, value = line.partition(" ")
            fields[key] = value
