"""The nouns: for each, its fold, the part that a checkpoint keeps, and its view.

A new noun is a module with a value, a fold, a view and its `NOUN`, and a line here. The order matters: while a noun
folds, it may read those above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
    trusts,
    turns,
)
from kheish.domain.agents import agent as agents
from kheish.domain.assets import asset as assets, reference as asset_references
from kheish.domain.channels import (
    attachment as channel_attachments,
    channel as channels,
    post as channel_posts,
    proposal as channel_proposals,
    thread as channel_threads,
    turn as channel_turns,
)
from kheish.domain.connectors import ask as asks, connector as connectors, receipt as receipts
from kheish.domain.definitions import InForce
from kheish.domain.deliveries import creating, delivery as deliveries
from kheish.domain.events import Draft
from kheish.domain.flows import view as flows
from kheish.domain.forks import inherited
from kheish.domain.goals import goal as goals
from kheish.domain.hooks import invocation as hook_invocations, progress as hooks
from kheish.domain.mailboxes import message as mailboxes
from kheish.domain.memory import ledger as memory_ledger, proposals as memory_proposals, records as memory_records
from kheish.domain.observations import observation as observations, source as sources, use as observation_uses
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.projects import project as projects, view as project_tasks
from kheish.domain.schedules import fire as fires, schedule as schedules, wakes
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
    hooks.NOUN,
    hooks.SESSION,
    approvals.NOUN,
    questions.NOUN,
    deliveries.NOUN,
    deliveries.SWITCH,
    todos.NOUN,
    tasks.NOUN,
    wakes.NOUN,
    mailboxes.NOUN,
    mailboxes.MAILBOX,
    goals.NOUN,
    agents.NOUN,
    flows.NOUN,
    budgets.NOUN,
    keys.NOUN,
    playbooks.NOUN,
    trusts.NOUN,
    hook_invocations.NOUN,
    hook_invocations.TALLY,
    schedules.NOUN,
    fires.NOUN,
    projects.NOUN,
    project_tasks.NOUN,
    channels.NOUN,
    channel_threads.NOUN,
    channel_turns.NOUN,
    channel_posts.NOUN,
    channel_posts.REACTIONS,
    channel_attachments.NOUN,
    channel_proposals.NOUN,
    connectors.NOUN,
    receipts.NOUN,
    receipts.KEYS,
    receipts.BINDINGS,
    asks.NOUN,
    inherited.NOUN,
    memory_ledger.NOUN,
    memory_proposals.NOUN,
    memory_records.NOUN,
    assets.NOUN,
    asset_references.NOUN,
    sources.NOUN,
    observations.NOUN,
    observations.BATCH,
    observation_uses.NOUN,
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
    describe, and deliveries with the outputs they carry."""

    def companions(drafts: Sequence[Draft], known: InForce) -> list[Draft]:
        return [*creating.companions(made, drafts), *audits.companions(drafts, known)]

    made = State(
        root,
        NOUNS,
        InForce(),
        companions=companions,
        index=index,
        submit=submit,
        scrub=scrub,
        clock=clock,
    )
    return made
