"""The nouns: for each, its fold, the part that a checkpoint keeps, and its view.

A new noun is a module with a value, a fold and a view, and a line in NOUNS. The order matters: while a noun folds, it
may read those above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kheish.domain import (
    approvals,
    audits,
    budgets,
    events,
    inherited,
    keys,
    messages,
    questions,
    runs,
    sessions,
    tasks,
    todos,
    turns,
)
from kheish.domain.definitions import InForce
from kheish.domain.events import Entry
from kheish.domain.flows import flow as flows
from kheish.domain.flows import status as flow_status
from kheish.domain.flows import view as flow_view
from kheish.domain.playbooks import versions as playbooks
from kheish.state.noun import Noun, Nouns, Tables
from kheish.state.state import State
from kheish.store.log.index import Reader
from kheish.store.log.wal import Group


def _always(_: Any) -> bool:
    return True


def _fold_flow(tables: Tables, entry: Entry) -> Iterable[str]:
    session = tables[sessions.Session].get(entry.session or "")
    agent_id = session.agent_id if session else ""
    return flows.fold(tables[flows.Flow], entry, tables[runs.Run], tables[approvals.Approval], agent_id)


_NOUNS = (
    Noun(
        name="session",
        cls=sessions.Session,
        folded=frozenset(sessions.CREATED + sessions.CHANGED),
        fold=lambda tables, entry: sessions.fold(tables[sessions.Session], entry),
        keep=_always,
        is_busy=lambda session: session.active is not None or bool(session.queued),
        view=sessions.view,
        record=lambda value: "session.yaml",
    ),
    Noun(
        name="run",
        cls=runs.Run,
        folded=frozenset(runs.FOLDED),
        fold=lambda tables, entry: runs.fold(tables[runs.Run], entry, tables[sessions.Session]),
        keep=lambda run: not run.is_final,
        view=runs.view,
        record=lambda value: f"runs/{value.run_id}.yaml",
    ),
    Noun(
        name="turn",
        cls=turns.Turn,
        folded=frozenset(turns.FOLDED),
        fold=lambda tables, entry: turns.fold(tables[turns.Turn], entry),
        keep=_always,
    ),
    Noun(
        name="approval",
        cls=approvals.Approval,
        folded=frozenset(approvals.FOLDED),
        fold=lambda tables, entry: approvals.fold(tables[approvals.Approval], entry),
        keep=lambda approval: approval.status == "pending",
        view=approvals.view,
        record=lambda value: f"approvals/{value.approval_id}.yaml",
        pending="approvals",
    ),
    Noun(
        name="question",
        cls=questions.Question,
        folded=frozenset(questions.FOLDED),
        fold=lambda tables, entry: questions.fold(tables[questions.Question], entry),
        keep=lambda question: question.status == "pending",
        view=questions.view,
        record=lambda value: f"questions/{value.question_id}.yaml",
        pending="questions",
    ),
    Noun(
        name="todo",
        cls=todos.TodoList,
        folded=frozenset(todos.FOLDED),
        fold=lambda tables, entry: todos.fold(tables[todos.TodoList], entry),
        keep=_always,
        view=todos.view,
        status=lambda value: None,
        record=lambda value: "tasks/todo.yaml",
    ),
    Noun(
        name="task",
        cls=tasks.Task,
        folded=frozenset(tasks.FOLDED),
        fold=lambda tables, entry: tasks.fold(tables[tasks.Task], entry),
        keep=lambda task: not task.is_final,
        view=tasks.view,
        record=lambda value: f"tasks/{value.task_id}.yaml",
    ),
    Noun(
        name="flow",
        cls=flows.Flow,
        folded=frozenset(flows.FOLDED),
        fold=_fold_flow,
        keep=lambda flow: not flow.is_final,
        view=flow_view.view,
        status=lambda flow: str(flow_status.status(flow)),
        filed=lambda flow: flow.path,
    ),
    Noun(
        name="spend",
        cls=budgets.Spend,
        folded=frozenset(budgets.FOLDED),
        fold=lambda tables, entry: budgets.fold(tables[budgets.Spend], entry),
        keep=_always,
        view=budgets.view,
        status=lambda value: value.day,
    ),
    Noun(
        name="key",
        cls=keys.KeyUse,
        folded=frozenset(keys.FOLDED),
        fold=lambda tables, entry: keys.fold(tables[keys.KeyUse], entry),
        keep=lambda _: False,
        view=keys.view,
        status=lambda value: None,
    ),
    Noun(
        name="version",
        cls=playbooks.Version,
        folded=frozenset(playbooks.FOLDED),
        fold=lambda tables, entry: playbooks.fold(tables[playbooks.Version], entry),
        keep=_always,  # a start may name any version, and a Playbook has some hundred at most
        view=playbooks.view,
        status=lambda version: version.shown_state,
        read=playbooks.read,
    ),
    Noun(
        name="conversation",
        cls=messages.Conversation,
        folded=frozenset(messages.FOLDED),
        fold=lambda tables, entry: messages.fold(tables[messages.Conversation], entry),
        keep=None,
        needs_from=messages.Conversation.needs_from,
        inherit=inherited.read,
    ),
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
