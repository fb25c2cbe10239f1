"""Reactors, one module each; `make` has the only list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kheish.daemon.reactors.agents import Agents
from kheish.daemon.reactors.clearing import Clearing
from kheish.daemon.reactors.expiry import Expiry
from kheish.daemon.reactors.files import Files
from kheish.daemon.reactors.flows import Flows
from kheish.daemon.reactors.goals import Goals
from kheish.daemon.reactors.mailboxes import Mailboxes
from kheish.daemon.reactors.memory import Memory
from kheish.daemon.reactors.redaction import Redaction
from kheish.daemon.reactors.runs import Runs
from kheish.daemon.reactors.schedules import Schedules
from kheish.daemon.reactors.tasks import Tasks

if TYPE_CHECKING:
    from kheish.authoring.inbox.inbox import Inbox
    from kheish.authoring.memory import MemoryFiles
    from kheish.authoring.pending import Answers
    from kheish.authoring.problems import Problems
    from kheish.daemon.firing import Firing
    from kheish.daemon.reactors.base import Reactor
    from kheish.runtime.agent import Agent
    from kheish.runtime.worker import Worker


def make(
    agent: Agent,
    worker: Worker,
    problems: Problems,
    answers: Answers,
    inbox: Inbox,
    memory: MemoryFiles,
    firing: Firing,
    learn_secrets: Callable[[], None],
) -> tuple[Reactor, ...]:
    """Return the reactors, in the order in which they start and react; they close in the opposite order."""
    state, jobs = agent.state, agent.jobs
    return (
        Redaction(learn_secrets),
        Clearing(state, jobs),
        Tasks(state, jobs, damaged=problems.damaged),
        Agents(state, agent.worktrees, damaged=problems.damaged),
        Flows(state, damaged=problems.damaged),
        Mailboxes(state, damaged=problems.damaged),
        Goals(state, damaged=problems.damaged),
        Memory(memory),
        Files(answers, inbox),
        Expiry(state),
        Schedules(state, firing, problems),
        Runs(worker, agent.gates),
    )
