"""Facts for the index that no journal of a session has: deleted sessions, and which commit holds which events."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from kheish.daemon.rows import grave
from kheish.domain import events
from kheish.domain.events import Entry, SessionDeleted
from kheish.domain.sessions import end as session_end
from kheish.errors import Damaged, KheishError
from kheish.store.log import journal
from kheish.store.log.wal import Recovered
from kheish.store.pipes import Child

if TYPE_CHECKING:
    from kheish.daemon.wiring import Daemon

log = logging.getLogger(__name__)

STREAM = "journals/daemon"
PAGE = 500  # commits that the git worker reads at a time: some 10 ms, since commits wait meanwhile


def deleted(root: Path, found: Recovered, *, all_of_them: bool) -> list[Entry]:
    """Return the deletions that the log has, or all that there were. Blocks on disk.

    The files of the deleted sessions may still be there: they go with the next commit.
    """
    lines = [line for group in found.groups for _, line in group]
    if all_of_them:
        try:
            lines += journal.read(root, STREAM)
        except Damaged as error:
            log.error("the list of deleted sessions cannot be read completely: %s", error.detail)
    known = {line["n"]: line for line in lines if line["kind"] == SessionDeleted.kind}
    return [events.decode(known[n]) for n in sorted(known)]


async def bury(scribe: Child, entries: list[Entry]) -> None:
    """Remove these sessions from the index, except for their tombstones."""
    for tomb in map(session_end.tombstone, entries):
        await scribe.request("forget", session=tomb["session_id"], path=tomb["path"], things=[grave(tomb)])


async def mark_commits(daemon: Daemon) -> None:
    """Record in the index which commits hold which events, back to those that it has.

    Runs in the background, page by page.
    """
    git, scribe, index = daemon.store.git, daemon.store.scribe, daemon.state.index
    try:
        newest = await git.request("last")
        if newest is None:
            return
        known = await asyncio.to_thread(index.fact, "marked")
        rev: str | None = newest["commit"]
        while rev is not None:
            page = await git.request("marks", rev=rev, until=known, limit=PAGE)
            await scribe.request("marks", marks=page["marks"])
            rev = page["next"]
        await scribe.request("marks", marks=[], upto=newest["commit"])
    except KheishError as error:
        log.warning("the commits of some events are not indexed and will be searched in git: %s", error.detail)
