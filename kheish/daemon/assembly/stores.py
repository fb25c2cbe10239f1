"""The log and its followers: the scribe, the git worker, the batches and the committer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kheish.api.metrics.measures import Measures
from kheish.config import Config
from kheish.daemon import children, loops
from kheish.daemon.batches import Batches
from kheish.daemon.children import child, on_loop
from kheish.daemon.next_cut import NextCut
from kheish.domain import nouns
from kheish.errors import StoreFailed
from kheish.state.state import State
from kheish.store.bus import Bus
from kheish.store.git.committer import Committer
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group, Log
from kheish.store.pipes import Child

if TYPE_CHECKING:
    from kheish.daemon.wiring import Daemon

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Store:
    """The log and what follows it."""

    log: Log
    state: State
    bus: Bus
    scribe: Child
    git: Child
    batches: Batches
    next_cut: NextCut
    committer: Committer
    failed: asyncio.Event
    measures: Measures


def make(root: Path, config: Config, daemon: Callable[[], Daemon]) -> Store:
    """Return the log with its followers. `daemon` is called later, when all parts are there."""
    loop, failed = asyncio.get_running_loop(), asyncio.Event()

    def take(groups: Sequence[Group], text: bytes) -> None:
        batches.take(groups, text)

    def fail(error: StoreFailed) -> None:
        log.critical("%s", error.detail)
        state.fail(error)
        failed.set()

    wal = Log(root, on_batch=on_loop(loop, take), on_failure=on_loop(loop, fail), durability=config.durability)
    state = nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=wal.submit, clock=time.time)
    state.definitions.config = config
    filters = nouns.NOUNS.filters
    scribe = children.scribe(root, filters, on_notice=lambda notice: loops.on_scribe(daemon(), notice))
    git = child("kheish.store.git.gitworker", root)
    bus = Bus()
    next_cut = NextCut(state, scribe)
    batches = Batches(state, bus, wal, scribe, next_cut)
    state.waiting.hurry = batches.hurry
    next_cut.committer = committer = Committer(
        git,
        next_cut.gather,
        lambda n, commit, time: loops.committed(daemon(), n, commit, time),
        config.commit.every,
        on_notice=lambda answer: loops.on_git(daemon(), answer),
    )
    measures = Measures()
    state.waiting.measure, committer.measure = measures.barrier.observe, measures.committed
    return Store(
        log=wal,
        state=state,
        bus=bus,
        scribe=scribe,
        git=git,
        batches=batches,
        next_cut=next_cut,
        committer=committer,
        failed=failed,
        measures=measures,
    )
