"""The nouns: for each, its fold, the part that a checkpoint keeps, and its view.

A new noun is a module with a value, a fold, a view and its `NOUN`, and a line here. The order matters: while a noun
folds, it may read those above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kheish.domain import (
    approvals,
    audits,
    budgets,
    events,
    keys,
    questions,
    runs,
    todos,
    turns,
)
from kheish.domain.agents import agent as agents
from kheish.domain.definitions import InForce
from kheish.domain.flows import view as flows
from kheish.domain.forks import inherited
from kheish.domain.goals import goal as goals
from kheish.domain.mailboxes import message as mailboxes
from kheish.domain.memory import ledger as memory_ledger
from kheish.domain.memory import proposals as memory_proposals
from kheish.domain.memory import records as memory_records
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.schedules import fire as fires
from kheish.domain.schedules import schedule as schedules
from kheish.domain.schedules import wakes
from kheish.domain.sessions import session as sessions
from kheish.domain.tasks import task as tasks
from kheish.state.noun import Nouns
from kheish.state.state import State
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group

_NOUNS = (
    sessions.NOUN,
    runs.NOUN,
    turns.NOUN,
    approvals.NOUN,
    questions.NOUN,
    todos.NOUN,
    tasks.NOUN,
    wakes.NOUN,
    mailboxes.NOUN,
    mailboxes.MAILBOX,
    agents.NOUN,
    flows.NOUN,
    goals.NOUN,
    budgets.NOUN,
    keys.NOUN,
    playbooks.NOUN,
    schedules.NOUN,
    fires.NOUN,
    inherited.NOUN,
    memory_ledger.NOUN,
    memory_proposals.NOUN,
    memory_records.NOUN,
)

NOUNS = Nouns(_NOUNS, events.kinds)
BY_CLASS = NOUNS.by_class


def state(
    root: Path,
    *,
    index: Reader,
    submit: Callable[[Group], None],
    scrub: Callable[[bytes], bytes] = lambda line: line,
    clock: Callable[[], float] = time.time,
) -> State:
    """Return a state with these nouns, without Definitions. Audit entries are appended with the events they
    describe."""
    return State(
        root,
        NOUNS,
        InForce(),
        companions=audits.companions,
        index=index,
        submit=submit,
        scrub=scrub,
        clock=clock,
    )
