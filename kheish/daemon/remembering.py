"""The memory of runs and the adoption of memory files, connected with the watcher and the next commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kheish.authoring.memory import MemoryFiles
from kheish.daemon.git import Git
from kheish.runtime.memory.catalog import Catalog
from kheish.runtime.memory.keeper import Keeper
from kheish.runtime.memory.recall import Memory

if TYPE_CHECKING:
    from kheish.authoring.problems import Problems
    from kheish.daemon.assembly.stores import Store
    from kheish.daemon.status import Facts
    from kheish.runtime.agent import Agent
    from kheish.store.edits.watcher import Watcher


def make(store: Store, facts: Facts, problems: Problems, watcher: Watcher, agent: Agent) -> MemoryFiles:
    """Give the agent its memory; return the adoption of memory files."""
    cut, git, catalog = store.next_cut, Git(store.git), Catalog()
    files = MemoryFiles(
        store.state,
        problems,
        catalog,
        commit=cut.authored,
        brought=git.brought,
        blobs=git.blobs,
        held=git.held,
        read=watcher.expect,
    )
    keeper = Keeper(
        store.state,
        catalog,
        expect=watcher.expect,
        wrote=watcher.look,
        commit=cut.authored,
        held=lambda: facts.held,
    )
    agent.memory = Memory(keeper, exceeded=files.exceeded)
    return files
