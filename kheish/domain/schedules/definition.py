"""The file of a schedule, `schedules/<id>.yaml`: when it fires, what it starts, and what happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from kheish import ids
from kheish.domain.observations.selection import Selection
from kheish.domain.permissions.rules import Rule
from kheish.domain.playbooks.manifest import Requirement
from kheish.domain.routes import Generation, Slug
from kheish.domain.schedules import timing
from kheish.domain.schedules.timing import Cadence
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.scripts import Duration
from kheish.domain.workers.definition import Choice
from kheish.ids import MOST
from kheish.settings import ReplyTarget
from kheish.store.edits.problems import Finding, Rejected

_Selector = Annotated[str, Field(min_length=1, max_length=128)]


def _every(text: str) -> str:
    seconds = ids.duration(text)
    if seconds < timing.LEAST_EVERY or seconds != int(seconds):
        raise ValueError(f"{text!r} is not possible; write whole seconds, {timing.LEAST_EVERY}s at least")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ScheduleBudget(_Part):
    """The budget of each run; the narrowest of all budgets applies."""

    turns: int | None = Field(default=None, ge=1, le=MOST)
    """Model turns."""
    wall_time: Duration | None = None
    """Active time, without the time that it waits for people."""
    model_calls: int | None = Field(default=None, ge=1, le=MOST)
    """Model calls."""
    tokens: int | None = Field(default=None, ge=1, le=MOST)
    """Input and output tokens."""
    cost_usd: float | None = Field(default=None, gt=0, le=MOST)
    """US dollars; the route needs a price."""


class RunInput(_Part):
    """The input of each run."""

    content: str = Field(min_length=1)
    """The task, as one text."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Data of your own; `scheduled_for` and `fire_id` are added."""
    route: _Selector | None = None
    """`route` or `route/model`; without it, the session's, or the daemon's default."""
    model: str | None = Field(default=None, min_length=1, max_length=300)
    """A model, instead of the route's."""
    generation: Generation = Field(default_factory=dict)
    """The provider's own settings, such as temperature."""
    completion: tuple[Requirement, ...] = ()
    """The conditions for completing the run. Their commands ask like the agent's own, since a file requests them."""
    budget: ScheduleBudget | None = None
    """The budget of each run."""

    @property
    def required(self) -> tuple[Any, ...]:
        """The requirements as a request has them."""
        return tuple(
            one if isinstance(one, str) else one.model_dump(mode="json", exclude_unset=True) for one in self.completion
        )


class NewSession(_Part):
    """The settings of the session that each fire creates."""

    title: str | None = Field(default=None, max_length=500)
    """A title for people."""
    workspace: str | None = Field(default=None, min_length=1, max_length=4096)
    """The folder in which tools act, absolute; without it, the daemon's."""
    route: _Selector | None = None
    """`route` or `route/model`; without it, the daemon's default."""
    permission_mode: Literal["default", "accept_edits", "plan", "dont_ask"] | None = None
    """The decision on calls that no rule matches."""
    permission_rules: tuple[Rule, ...] = ()
    """Rules of the session, in addition to those of permissions.yaml."""
    persona: Slug | None = None
    """A persona; the session keeps a snapshot of it."""
    worker: Choice | None = None
    """The worker that its tools run on: `big`, or `{labels: [gpu]}`; without it, the persona's, else none."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Data of your own."""
    budget: ScheduleBudget | None = None
    """The budget of the session's runs."""
    while_waiting: Literal["hold", "park"] = "hold"
    """Whether a run that waits for a person blocks the session."""
    capability_scope: CapabilityScope | None = None
    """The tools that its agent sees and may call."""
    credential_scope: CredentialScope | None = None
    """The routes, connectors and accounts that its runs use."""


class FlowStart(_Part):
    """The Flow that each fire starts."""

    playbook: str = Field(min_length=1, max_length=260)
    """The Playbook; also `id@version`."""
    version: str | None = None
    """The version; without it, the active one."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """The values of the Playbook's `inputs`."""
    session: Slug | None = None
    """The session that it runs in; without it, each Flow has its own."""

    @model_validator(mode="after")
    def _one_version(self) -> FlowStart:
        if "@" in self.playbook and self.version is not None:
            raise ValueError("name the version once: in playbook, or in version")
        return self


class NewTask(_Part):
    """The task that each fire creates in its project, and starts."""

    title: str = Field(min_length=1, max_length=200)
    """The work, in one line."""
    description: str | None = Field(default=None, max_length=8000)
    """All that an agent needs for it."""
    assignee: Slug
    """The member that works on it: a session or an agent."""


class ObservationsTarget(_Part):
    """The target of observations: a run in a session or in a new one, or a Flow."""

    session: Slug | None = None
    """The session of the runs; it is created if it is missing."""
    new_session: NewSession | None = None
    """The settings of a session of its own for each run; `{}` for the defaults."""
    content: str | None = Field(default=None, min_length=1)
    """The task of each run; the observations follow it."""
    route: _Selector | None = None
    """`route` or `route/model`; without it, the session's, or the daemon's default."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Data of your own."""
    flow: FlowStart | None = None
    """A Flow instead of a run; its first phases get the observations."""

    @model_validator(mode="after")
    def _is_one(self) -> ObservationsTarget:
        if sum(one is not None for one in (self.session, self.new_session, self.flow)) != 1:
            raise ValueError("needs exactly one of session, new_session and flow")
        if self.flow is not None and (self.content or self.route or self.metadata):
            raise ValueError("content, route and metadata are for a run; a flow has inputs")
        return self


class ObservationsStart(_Part):
    """Observations, chosen at the time of each fire, and what gets them."""

    select: Selection
    """The choice of observations; a duration in `since` counts back from the fire."""
    to: ObservationsTarget
    """The target."""
    fail_when_empty: bool = False
    """Whether a fire without observations fails; otherwise the run learns that there are none."""


class ScheduleStart(_Part):
    """The target of each fire: a run in a session or in a new one, a Flow, observations, a message in a channel,
    or a task of a project."""

    session: Slug | None = None
    """The session of the runs; it is created if it is missing."""
    new_session: NewSession | None = None
    """The settings of a session of its own for each run; `{}` for the defaults."""
    input: RunInput | None = None
    """The input of each run."""
    flow: FlowStart | None = None
    """A Flow instead of a run."""
    observations: ObservationsStart | None = None
    """Observations of that time, for a run or a Flow."""
    channel: Slug | None = None
    """The channel of the messages. Agents get turns to answer each."""
    message: str | None = Field(default=None, min_length=1, max_length=16_000)
    """The text of each message; `@name` addresses a member."""
    project: Slug | None = None
    """The project of the task."""
    task: Slug | NewTask | None = None
    """The id of a task, which each fire starts again; or the title, the description and the assignee of a new one."""

    @model_validator(mode="after")
    def _one_start(self) -> ScheduleStart:
        kinds = ("session", "new_session", "flow", "observations", "channel", "project")
        named = [name for name in kinds if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError("needs exactly one of session, new_session, flow, observations, channel and project")
        if (self.channel is None) != (self.message is None):
            raise ValueError("a channel needs a message, and a message a channel")
        if (self.project is None) != (self.task is None):
            raise ValueError("a project needs a task, and a task a project")
        if self.channel is not None and self.input is not None:
            raise ValueError("a channel has a message, not input")
        if self.observations is not None:
            if self.input is not None:
                raise ValueError("observations have a target (to) with its own content, not input")
            return self
        has_own_text = self.flow is not None or self.channel is not None or self.project is not None
        if not has_own_text and self.input is None:
            raise ValueError(f"needs input: what the run in the {named[0]} has to do")
        if has_own_text and self.input is not None:
            raise ValueError("a flow has inputs, not input" if self.flow is not None else "a task has no input")
        return self


class ScheduleFile(_Part):
    """A schedule: exactly one of `cron`, `every` and `at` says when it fires."""

    title: str | None = Field(default=None, max_length=500)
    """The name shown to people."""
    cron: Annotated[str, AfterValidator(timing.check_cron)] | None = None
    """Five fields (minute hour day month weekday) with names, `L` and `#`, or `@hourly` to `@yearly`."""
    every: Annotated[Duration, AfterValidator(_every)] | None = None
    """An interval, `5s` at least. It keeps its phase over pauses and restarts."""
    at: str | None = None
    """A single time, such as `2026-12-01T09:00Z`; without an offset, it is in `timezone`."""
    timezone: Annotated[str, AfterValidator(timing.check_zone)] | None = None
    """The time zone of `cron` and `at`; without it, the daemon's."""
    start: ScheduleStart
    """The target of each fire."""
    overlap: Literal["skip", "queue_one", "parallel"] = "skip"
    """An occurrence while an earlier fire is in flight: it is skipped, one of them waits, or it starts as well."""
    misfire: Literal["once", "skip"] = "once"
    """Occurrences that were missed by more than `grace` (the daemon was down): one is made up for, or none."""
    grace: Duration = "10m"
    """The lateness up to which an occurrence still counts as on time."""
    jitter: Duration = "0s"
    """The longest delay of its occurrences. Each schedule has its own fixed part of it."""
    max_runs: int | None = Field(default=None, ge=1, le=MOST)
    """The number of starts after which it is completed."""
    unattended: Literal["ask", "deny"] = "ask"
    """Calls that need an approval, and questions: a person is asked, or they are denied."""
    pause_after_failures: int | None = Field(default=5, ge=1, le=MOST)
    """Failures in a row after which it is paused; null: never."""
    paused: bool = False
    """Whether occurrences are skipped. `pause` and `resume` apply until this line is changed."""
    reply_targets: Annotated[tuple[ReplyTarget, ...], Field(max_length=50)] = ()
    """The targets of the outputs of its runs: each names an output, and an address there."""

    @model_validator(mode="after")
    def _one_cadence(self) -> ScheduleFile:
        wrong = []
        if sum(one is not None for one in (self.cron, self.every, self.at)) != 1:
            wrong.append(Finding((), "needs exactly one of cron, every and at"))
        if self.at is not None:
            try:
                timing.instant(self.at, self.timezone or "UTC")
            except ValueError as error:
                wrong.append(Finding(("at",), str(error)))
        if self.every is not None and ids.duration(self.jitter) >= ids.duration(self.every):
            wrong.append(Finding(("jitter",), f"jitter {self.jitter} is not shorter than every {self.every}"))
        if wrong:
            raise Rejected(*wrong)
        return self

    @property
    def zone(self) -> str:
        """The time zone in effect."""
        return self.timezone or default_zone()

    @property
    def cadence(self) -> Cadence:
        """The times at which it fires."""
        if self.at is not None:
            return Cadence(text=f"at {self.at}", zone=self.zone, at=timing.instant(self.at, self.zone))
        if self.every is not None:
            return Cadence(text=f"every {self.every}", zone=self.zone, every=int(ids.duration(self.every)))
        return Cadence(text=f"cron {self.cron}", zone=self.zone, cron=self.cron)

    @property
    def targets(self) -> tuple[dict[str, Any], ...]:
        """The reply targets as a request has them."""
        return tuple(target.plain for target in self.reply_targets)

    def references(self) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """Yield the definitions that it names: the place in the file, the kind and the id."""
        given, made = self.start.input, self.start.new_session
        if given is not None and given.route is not None:
            yield ("start", "input", "route"), "routes", given.route.partition("/")[0]
        if made is not None and made.route is not None:
            yield ("start", "new_session", "route"), "routes", made.route.partition("/")[0]
        if made is not None and made.persona is not None:
            yield ("start", "new_session", "persona"), "personas", made.persona
        if self.start.observations is not None:
            yield from self._observed(self.start.observations)
        if self.start.project is not None:
            yield ("start", "project"), "projects", self.start.project
        if self.start.channel is not None:
            yield ("start", "channel"), "channels", self.start.channel

    def _observed(self, start: ObservationsStart) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        if start.select.source is not None:
            yield ("start", "observations", "select", "source"), "sources", start.select.source
        if start.to.route is not None:
            yield ("start", "observations", "to", "route"), "routes", start.to.route.partition("/")[0]


@cache
def default_zone() -> str:
    """Return the name of the daemon's time zone."""
    return timing.local_zone()
