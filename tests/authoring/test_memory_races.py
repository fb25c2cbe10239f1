"""Calls that change memory files between their reading and their listing: what the call did stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish.authoring.memory import MemoryFiles
from kheish.domain.memory import ledger
from kheish.domain.memory.ledger import Author
from kheish.domain.memory.names import SHARED
from kheish.runtime.memory import keeper as writing
from kheish.runtime.memory.catalog import Catalog, digest
from kheish.runtime.memory.keeper import Committed, Keeper
from tests.daemon.people import desk

AGENT = Author(by="run_1", origin="agent", via="tool")
ADA = Author(by="ada", origin="person", via="api")


class Files:
    """Memory files with their keeper; `meanwhile` happens after the next adoption has read its files."""

    def __init__(self, d: Any) -> None:
        self.root, self.catalog = Path(d.root), Catalog()
        self.commits: list[Committed] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        add: Any = self.commits.append
        self.read: list[tuple[str, str]] = []
        self.files = MemoryFiles(
            d.state, d.problems, self.catalog, commit=add, brought=self._brought, blobs=self._blobs, held=self._held,
            read=lambda *seen: self.read.append(seen),
        )  # fmt: skip
        self.keeper = Keeper(
            d.state, self.catalog, expect=lambda *_: None, wrote=lambda _: None, commit=add, held=lambda: None
        )

    async def _brought(self, _: Mapping[str, str]) -> Sequence[str]:
        if self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            await act()
        return ()

    async def _blobs(self, _: str) -> Mapping[str, str]:
        return {}

    async def _held(self) -> str | None:
        return None

    async def take(self, *names: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        """Adopt these files and one that is new, whose adoption asks git after all of them were read."""
        self.meanwhile = meanwhile
        (self.root / SHARED.path("new.md")).write_text("new\n")
        await self.files.take([SHARED.path(name) for name in (*names, "new.md")])
        assert self.meanwhile is None


async def test_an_acceptance_during_an_adoption_wins(tmp_path: Path) -> None:
    async with desk(tmp_path, {"memory/shared/a.md": "text\n"}) as d:
        it = Files(d)
        entry = ledger.entry(AGENT, SHARED.path("a.md"), digest(b"text\n"), "written", before=None)
        await writing.append(d.state, it.catalog, [entry])
        await it.files.start()
        note = it.catalog.get(SHARED.path("a.md"))
        assert note is not None and not note.is_users

        await it.take("a.md", meanwhile=lambda: it.keeper.mark(ADA, SHARED.path("a.md"), "accepted", seen=None))

        note = it.catalog.get(SHARED.path("a.md"))
        assert note is not None and note.is_users
        assert it.catalog.get(SHARED.path("new.md")) is not None


async def test_a_file_that_an_agent_makes_during_an_adoption_is_not_removed(tmp_path: Path) -> None:
    async with desk(tmp_path, {"memory/shared/a.md": "text\n"}) as d:
        it = Files(d)
        await it.files.start()
        it.commits.clear()
        (tmp_path / "memory/shared/a.md").unlink()

        await it.take("a.md", meanwhile=lambda: it.keeper.write(AGENT, SHARED, "a.md", b"mine\n", seen=None))

        note = it.catalog.get(SHARED.path("a.md"))
        assert note is not None and note.digest == digest(b"mine\n") and not note.is_users
        last = [one.contents[note.path] for one in it.commits if note.path in one.contents][-1]
        assert last == b"mine\n"


async def test_a_removed_file_leaves_the_listing_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path, {"memory/shared/a.md": "text\n"}) as d:
        it = Files(d)
        await it.files.start()
        (tmp_path / "memory/shared/a.md").unlink()
        before = d.state.n

        await it.files.take([SHARED.path("a.md")])

        assert it.catalog.get(SHARED.path("a.md")) is None
        assert d.state.n == before + 1, "the removal is recorded once"


async def test_the_watcher_is_told_what_a_start_adopts(tmp_path: Path) -> None:
    async with desk(tmp_path, {"memory/shared/a.md": "text\n"}) as d:
        it = Files(d)
        await it.files.start()
        assert it.read == [("memory/shared/a.md", digest(b"text\n"))]
