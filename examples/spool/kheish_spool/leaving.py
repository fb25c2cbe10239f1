"""The output: each delivery becomes a file with the text, and a folder with its files. Its file:

kind: spool
options: {folder: /srv/out}
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from kheish.runtime.outputs.base import Job, Passing, Refused, Sent, Way


async def send(job: Job, way: Way) -> Sent:
    """Write the files, then the text under its own name: a kill leaves all of it, or nothing that counts."""
    if "folder" not in job.sink.options:
        raise Refused("options has no folder")
    contents = [(file.name, await way.content(file)) for file in job.files]
    try:
        await asyncio.to_thread(_write, _path(job), job.text, contents)
    except OSError as error:
        raise Passing(f"it cannot be written: {error.strerror}") from error
    return Sent(receipt=_path(job).name)


async def find(job: Job, way: Way) -> Sent | None:
    """Return the delivery if it is there: the daemon asks after an attempt whose end it does not know."""
    return Sent(receipt=_path(job).name) if await asyncio.to_thread(_path(job).exists) else None


def _path(job: Job) -> Path:
    return Path(job.sink.options["folder"]) / f"{job.delivery_id}.txt"


def _write(path: Path, text: str, contents: list[tuple[str, bytes]]) -> None:
    for name, content in contents:
        (folder := path.with_suffix(".files")).mkdir(exist_ok=True)
        (folder / Path(name).name).write_bytes(content)
    draft = path.with_suffix(".part")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
