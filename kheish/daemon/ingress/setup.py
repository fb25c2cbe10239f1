"""The parts that start work by Definitions, made together: the API and the reactors use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kheish.auth.broker import Broker
from kheish.auth.tokens import Tokens
from kheish.authoring.adopting import Adopting
from kheish.authoring.playbooks.source import Read
from kheish.authoring.playbooks.tags import PlaybookTags
from kheish.authoring.playbooks.versions import Flush, Playbooks
from kheish.authoring.problems import Problems
from kheish.daemon.firing.firing import Firing
from kheish.daemon.ingress import own_faults, samples
from kheish.daemon.ingress.asking import Asking
from kheish.daemon.ingress.attachments import Attachments
from kheish.daemon.ingress.credentials import Credentials
from kheish.daemon.ingress.fetching import Fetching
from kheish.daemon.ingress.intake import Intake
from kheish.daemon.ingress.receiving import Answer, Receiving
from kheish.daemon.ingress.rejections import Rejections
from kheish.daemon.ingress.working import Working
from kheish.daemon.workspaces import Workspaces
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.definitions import Definition
from kheish.runtime.agent import Agent
from kheish.runtime.observations import service as observations
from kheish.store.pipes import Child


class Ingress:
    """The service of ingress."""

    def __init__(self, receiving: Receiving, asking: Asking, working: Working, fetching: Fetching) -> None:
        self.receiving = receiving
        self.asking = asking
        self.working = working
        self.fetching = fetching

    async def receive(
        self, connector_id: str, headers: Mapping[str, str], body: bytes, *, is_loopback: bool, address: str
    ) -> Answer:
        """Answer a request (`Receiving.receive`)."""
        return await self.receiving.receive(connector_id, headers, body, is_loopback=is_loopback, address=address)

    @property
    def rejections(self) -> Mapping[str, int]:
        """The numbers of requests whose proof was refused since the daemon started, by connector."""
        return self.receiving.rejections.counts

    async def test(
        self, connector_id: str, body: str | None, event: str | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        """Send a signed sample, and return the status and the answer."""
        return await samples.send(self.receiving, connector_id, body, self.receiving.now(), event)

    async def state_of(self, one: Definition) -> tuple[str, str | None]:
        """Return the state of a connector, and the reason why it fails or is not ready."""
        return await self.fetching.state_of(one)

    async def missing(self, connector_id: str, file: ConnectorFile) -> str | None:
        """Return the reason why what this file names could take nothing in now; None if there is none."""
        return await own_faults.missing(self.receiving.state, connector_id, file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """The parts that start work by Definitions: versions of Playbooks, schedules and connectors."""

    tags: PlaybookTags
    playbooks: Playbooks
    schedules: Firing
    ingress: Ingress
    workspaces: Workspaces

    @property
    def services(self) -> dict[str, Any]:
        """The services of the API among them."""
        names = ("playbooks", "schedules", "ingress", "workspaces")
        return {name: getattr(self, name) for name in names}


def starting(
    agent: Agent,
    broker: Broker,
    tokens: Tokens,
    problems: Problems,
    workspaces: Workspaces,
    adopting: Adopting,
    git: Child,
    flush: Flush,
    *,
    allow_unauthenticated: bool,
) -> Starting:
    """Return the parts that start work."""
    tags = PlaybookTags(agent.state, problems, git)
    playbooks = Playbooks(agent.state, adopting, git, tags, flush=flush)
    given = agent, broker, tokens, workspaces, playbooks.read
    return Starting(
        tags=tags,
        playbooks=playbooks,
        schedules=Firing(agent.state, workspaces, playbooks.read, observations.of(agent)),
        ingress=_ingress(*given, problems=problems, allow_unauthenticated=allow_unauthenticated),
        workspaces=workspaces,
    )


def _ingress(
    agent: Agent,
    broker: Broker,
    tokens: Tokens,
    workspaces: Workspaces,
    read: Read,
    *,
    problems: Problems,
    allow_unauthenticated: bool,
) -> Ingress:
    state, credentials = agent.state, Credentials(broker)
    intake = Intake(state, workspaces, read)
    asking = Asking(state, credentials, intake)
    receiving = Receiving(
        state,
        intake,
        credentials,
        Attachments(state, agent.assets, credentials),
        tokens,
        answer_click=asking.answer,
        rejections=Rejections(state),
        problems=problems,
        allow_unauthenticated=allow_unauthenticated,
    )
    return Ingress(receiving, asking, Working(state, credentials), Fetching(state, receiving, problems))
