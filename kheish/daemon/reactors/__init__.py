"""Reactors, one module each; `make` has the only list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kheish.daemon.reactors.agents import Agents
from kheish.daemon.reactors.assets import Assets
from kheish.daemon.reactors.channels import Channels
from kheish.daemon.reactors.clearing import Clearing
from kheish.daemon.reactors.copies import Copies
from kheish.daemon.reactors.debug import Debug
from kheish.daemon.reactors.deliveries import Deliveries
from kheish.daemon.reactors.expiry import Expiry
from kheish.daemon.reactors.files import Files
from kheish.daemon.reactors.flows import Flows
from kheish.daemon.reactors.goals import Goals
from kheish.daemon.reactors.hooks import Hooks
from kheish.daemon.reactors.ingress import Ingress
from kheish.daemon.reactors.mailboxes import Mailboxes
from kheish.daemon.reactors.mcp import Mcp
from kheish.daemon.reactors.measuring import Measuring
from kheish.daemon.reactors.memory import Memory
from kheish.daemon.reactors.observations import Observations
from kheish.daemon.reactors.projects import Projects
from kheish.daemon.reactors.redaction import Redaction
from kheish.daemon.reactors.runs import Runs
from kheish.daemon.reactors.schedules import Schedules
from kheish.daemon.reactors.tasks import Tasks
from kheish.daemon.reactors.traces import Traces
from kheish.daemon.reactors.workers import Workers

if TYPE_CHECKING:
    from kheish.api.metrics.measures import Measures
    from kheish.authoring.inbox.inbox import Inbox
    from kheish.authoring.memory import MemoryFiles
    from kheish.authoring.pending import Answers
    from kheish.authoring.problems import Problems
    from kheish.daemon.ingress.setup import Starting
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
    started: Starting,
    learn_secrets: Callable[[], None],
    measures: Measures,
) -> tuple[Reactor, ...]:
    """Return the reactors, in the order in which they start and react; they close in the opposite order."""
    state, jobs = agent.state, agent.jobs
    return (
        Redaction(learn_secrets),
        Measuring(measures),
        Clearing(state, agent.here, jobs, agent.workers),
        *([Copies(state, agent.carrying, agent.workers)] if agent.carrying and agent.workers else []),
        Tasks(state, jobs, damaged=problems.damaged),
        Agents(state, agent.worktrees, damaged=problems.damaged),
        Flows(state, damaged=problems.damaged),
        Mailboxes(state, damaged=problems.damaged),
        Projects(state, problems),
        Channels(state, problems),
        Goals(state, damaged=problems.damaged),
        Memory(memory),
        *([Assets(state, agent.assets)] if agent.assets is not None else []),
        *([Observations(state, agent.observations, problems)] if agent.observations is not None else []),
        Files(answers, inbox),
        Expiry(state),
        *([Debug(agent.debug)] if agent.debug is not None else []),
        Schedules(state, started.schedules, problems),
        Deliveries(agent, problems),
        *([Workers(state, agent.workers, problems)] if agent.workers is not None else []),
        Ingress(started.ingress, problems),
        *([Hooks(agent, problems)] if agent.hooks is not None else []),
        *([Mcp(state, agent.mcp)] if agent.mcp is not None else []),
        Traces(state, agent.broker, problems),
        Runs(worker, agent.gates),
    )
