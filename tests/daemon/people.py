"""A state root whose files a person edits, with a real State, journals and index; commits are kept in a mapping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kheish.authoring.adopting import Adopting
from kheish.authoring.problems import Problems
from kheish.domain import events, nouns
from kheish.domain.events import DefinitionChanged
from kheish.state.state import State
from kheish.store.bus import Bus
from kheish.store.log.index import Reader
from tests.api.harness import Log

ECHO = "driver: scripted\nscript: {echo: true}\n"


@dataclass
class Desk:
    """What a person and the daemon have between them."""

    root: Path
    state: State
    problems: Problems
    adopting: Adopting
    commits: dict[str, bytes] = field(default_factory=dict)
    handed_on: list[str] = field(default_factory=list)
    told: list[DefinitionChanged] = field(default_factory=list)

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    async def edit(self, files: dict[str, str | None]) -> list[str]:
        """A person saves (None: removes) files together; returns what goes to git."""
        for path, text in files.items():
            if text is None:
                (self.root / path).unlink()
            else:
                self.write(path, text)
        return await self.adopting.take(frozenset(files))

    def wrong(self) -> list[tuple[str, int | None, int | None, str]]:
        return [(one["path"], one["line"], one["column"], one["code"]) for one in self.problems.list()]

    def routes(self) -> set[str]:
        return set(self.state.definitions.routes)


@asynccontextmanager
async def desk(root: Path, files: dict[str, str], environ: dict[str, str] | None = None) -> AsyncIterator[Desk]:
    """A started daemon's desk; `files` are in the last commit and in the work tree."""
    root.mkdir(exist_ok=True)
    commits = {path: text.encode() for path, text in files.items()}
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    async with opened(root, commits, environ) as made:
        yield made


@asynccontextmanager
async def opened(
    root: Path, commits: dict[str, bytes], environ: dict[str, str] | None = None, start: bool = True
) -> AsyncIterator[Desk]:
    """As `desk`, with a last commit that may differ from the work tree."""
    log = Log(root, Bus())
    state = log.state = nouns.state(root, index=Reader(root / ".kheish" / "index.sqlite"), submit=log.submit)
    problems = Problems(root)
    handed_on: list[str] = []

    async def committed(path: str) -> bytes | None:
        return commits.get(path)

    async def listed(folder: str) -> Sequence[str]:
        prefix = f"{folder}/" if folder else ""
        names = (path.removeprefix(prefix) for path in commits if path.startswith(prefix))
        return [name for name in names if "/" not in name]

    adopting = Adopting(
        state, problems, edited=handed_on.extend, committed=committed, listed=listed, environ=environ or {}
    )
    made = Desk(root, state, problems, adopting, commits, handed_on)
    hear(state, made.told.append)
    if start:
        await adopting.start()
    yield made
    await state.durable()
    await problems.write()
    log.writer.close()


def hear(state: State, listener: Callable[[DefinitionChanged], None]) -> None:
    """Have each change of a definition told to `listener`."""
    append = state.append

    def heard(*drafts: events.Draft) -> tuple[events.Entry, ...]:
        entries = append(*drafts)
        for entry in entries:
            if isinstance(entry.event, DefinitionChanged):
                listener(entry.event)
        return entries

    state.append = heard  # type: ignore[method-assign]  # listening, nothing else
