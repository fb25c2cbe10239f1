"""The carriers of workers by their files, and the confinement of git commands that read a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kheish.domain.definitions import InForce
from kheish.domain.workers.definition import WorkerFile
from kheish.errors import WorkerUnreachable
from kheish.jobs import sandbox
from kheish.runtime.tools.shell import SandboxSettings, is_confined
from kheish.runtime.workers import pool
from kheish.runtime.workers.carrier import Carrier
from kheish.runtime.workers.carrying import Carrying
from kheish.runtime.workers.cluster.carrier import ray
from kheish.runtime.workers.copies import Confine
from kheish.runtime.workers.pool import Terms, Workers
from kheish.runtime.workers.ssh import Ssh
from kheish.state.state import State


def make(state: State, depots: Path, settings: Callable[[], SandboxSettings]) -> tuple[Workers, Carrying]:
    """Return the workers of a daemon, by their files in force, and what carries workspaces to them."""
    home = pool.home_of(state.root)
    workers = Workers(
        lambda worker: carrier_of(state.root, home, state.definitions, worker),
        home,
        lambda worker: terms_of(state.definitions, worker),
    )
    return workers, Carrying(state, workers, depots, confine(settings))


def carrier_of(root: Path, home: str, definitions: InForce, worker: str) -> Carrier:
    """Return the carrier of a worker. `home` names the state root there. Raises NotFound, WorkerUnreachable."""
    found = definitions.by_kind["workers"].get(worker)
    if found is None:
        return pool.none(worker)
    file: WorkerFile = found.value
    if file.disabled:
        raise WorkerUnreachable(f"The worker {worker!r} is disabled in {found.path}.")
    if file.carrier == "ssh":
        return Ssh(file.address)
    record = str(root / ".kheish" / f"ray-{worker}.json")
    return ray(file.address, file.resources, home=home, worker=worker, record=record)


def terms_of(definitions: InForce, worker: str) -> Terms:
    """Return the terms in a worker's file; a worker without a file runs nothing unconfined."""
    found = definitions.by_kind["workers"].get(worker)
    if found is None:
        return pool.CONFINED
    file: WorkerFile = found.value
    return Terms(file.sandbox, file.jobs)


def confine(settings: Callable[[], SandboxSettings]) -> Confine:
    """Return the confinement of git commands: they see the workspace, write the depot, and reach no network."""

    def wrapped(workspace: Path, depot: Path, argv: Sequence[str | Path]) -> Sequence[str | Path]:
        now, words = settings(), [str(one) for one in argv]
        if not is_confined(now):
            return words
        return sandbox.wrap(words, workspace=workspace, hide=now.hide, read_only=now.read_only, writable=(depot,))

    return wrapped
