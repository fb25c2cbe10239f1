"""The placement of sessions: the worker that a choice stands for, once and for all when a session is created."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kheish.domain.workers.definition import WorkerChoice, WorkerFile
from kheish.errors import Fault, Invalid

if TYPE_CHECKING:
    from kheish.state.state import State


MOST_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Load:
    """The use of a worker: its commands that run, the sessions placed there by this daemon, whether it is reachable
    (None: not tried yet)."""

    jobs: int = 0
    placed: int = 0
    is_reachable: bool | None = None


UNUSED = Load()


@dataclass(slots=True)
class Loads:
    """The use of each worker, as the daemon's connections report it (`State.derived`)."""

    by_id: dict[str, Load] = field(default_factory=dict)

    def note(self, worker_id: str, *, jobs: int, is_reachable: bool | None) -> None:
        """Keep what a connection reports."""
        old = self.by_id.get(worker_id, UNUSED)
        self.by_id[worker_id] = Load(jobs, old.placed, is_reachable)

    def place(self, worker_id: str) -> None:
        """Count a session that was placed on a worker."""
        old = self.by_id.get(worker_id, UNUSED)
        self.by_id[worker_id] = Load(old.jobs, old.placed + 1, old.is_reachable)


def loads_of(state: State) -> Loads:
    """Return the use of the workers of a daemon."""
    loads: Loads = state.derived.setdefault(Loads, Loads())
    return loads


def choose(known: Mapping[str, WorkerFile], loads: Mapping[str, Load], wanted: WorkerChoice) -> str:
    """Return the freest worker that fits: one that is not unreachable, with the smallest share of its commands in use,
    then with the fewest sessions.

    Raises Invalid if none fits.
    """
    fitting = [id for id, file in known.items() if not file.disabled and _fits(id, file, wanted)]
    if not fitting:
        raise _unmatched(known, wanted)
    return min(fitting, key=lambda id: _rank(id, known[id], loads.get(id, UNUSED)))


def _fits(id: str, file: WorkerFile, wanted: WorkerChoice) -> bool:
    return id == wanted.id if wanted.id is not None else set(wanted.labels or ()) <= set(file.labels)


def _rank(id: str, file: WorkerFile, load: Load) -> tuple[bool, float, int, str]:
    share = load.jobs / file.jobs if file.jobs is not None else 0.0
    return load.is_reachable is False, share, load.placed, id


def _unmatched(known: Mapping[str, WorkerFile], wanted: WorkerChoice) -> Invalid:
    if wanted.id is not None and wanted.id in known:
        why = f"the worker {wanted.id} is disabled"
    elif wanted.id is not None:
        why = f"there is no worker {wanted.id!r}"
    else:
        why = f"no worker has {wanted}"
    listed = ", ".join(_described(id, file) for id, file in sorted(known.items())) or "none"
    return Invalid(
        f"No worker fits: {why}. There are: {listed}. Add one in workers/, or leave `worker` out to work here.",
        errors=[Fault("/worker", why)],
    )


def _described(id: str, file: WorkerFile) -> str:
    words = [*file.labels, *(["disabled"] if file.disabled else [])]
    return f"{id} ({', '.join(words)})" if words else id


def place(state: State, wanted: WorkerChoice, held: str | None = None) -> str:
    """Return the worker that a choice stands for. `held` is the present one; it stays if it fits. Raises Invalid."""
    known = {id: one.value for id, one in state.definitions.by_kind["workers"].items()}
    if held is not None and (held == wanted.id or (held in known and _fits(held, known[held], wanted))):
        return held
    return choose(known, loads_of(state).by_id, wanted)


async def in_use(state: State, worker_id: str) -> int:
    """Return the number of sessions that work on a worker and have not ended, `MOST_COUNTED` at most."""
    await state.caught_up()
    return await asyncio.to_thread(
        state.index.count, "session", ("idle", "busy"), at_most=MOST_COUNTED, fields={"worker": worker_id}
    )


def count(state: State, worker_id: str | None) -> None:
    """Count a session that is created on a worker."""
    if worker_id is not None:
        loads_of(state).place(worker_id)


def placed(state: State, *choices: Any, inherited: str | None = None) -> str | None:
    """Return the worker of the first choice that names one, else the inherited one. Raises Invalid."""
    wanted = next((one for one in choices if one is not None), None)
    if wanted is None:
        return inherited
    return place(state, wanted if isinstance(wanted, WorkerChoice) else WorkerChoice.model_validate(wanted), inherited)
