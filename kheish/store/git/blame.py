"""The author of each line of a file, as reported by the user's own git in a child process, since it may read much
history."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kheish.errors import NotFound, Unavailable
from kheish.store.git import command as git, remote

_TIMEOUT = 30.0  # seconds


async def lines(root: Path, commit: str, path: str) -> list[dict[str, Any]]:
    """Return `{line, text, commit, author, time, summary}` of each line of a file in a commit.

    Raises NotFound if the commit has no such file, Unavailable if git does not answer in time.
    """
    if commit.startswith("-"):
        raise NotFound(f"{commit!r} is not a commit.")
    options = ("--no-textconv", "--line-porcelain", "--ignore-revs-file=")
    words = ("--no-optional-locks", "-c", f"safe.directory={root}", "blame", *options, commit, "--", path)
    try:
        process = await git.start(root, words, more=git.ALONE)
    except OSError as error:
        raise Unavailable(f"git cannot run: {error}") from error
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, errors = await process.communicate()
    except TimeoutError:
        raise Unavailable(f"git did not answer within {_TIMEOUT:g} s: git -C {root} blame {path}") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        text = errors.decode(errors="replace")
        if "no such path" in text:
            raise NotFound(f"Commit {commit[:12]} has no file {path}.")
        raise Unavailable(f"git blame failed: {remote.last_words(text)}")
    return list(parse(out.decode(errors="replace")))


def parse(text: str) -> Iterator[dict[str, Any]]:
    """Yield the lines in the output of `git blame --line-porcelain`. Each has its commit, its fields, and the line
    itself after a tab."""
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
