"""What callers may send: the models that validate requests, and from which OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kheish.domain.permission_rules import Mode, Rule
from kheish.domain.scopes import CapabilityScope, CredentialScope

Name = Annotated[str, Field(min_length=1, max_length=128)]
Reason = Annotated[str, Field(max_length=4000)]
Key = Annotated[str, Field(min_length=1, max_length=255)]
_Label = Annotated[str, Field(max_length=200)]
Labels = Annotated[dict[_Label, Annotated[str, Field(max_length=2000)]], Field(max_length=100)]
#: an object with a few members, each of which is looked at
Few = Annotated[dict[str, Any], Field(max_length=100)]
Targets = Annotated[list[Few], Field(max_length=50)]


class Body(BaseModel):
    """Base of all requests: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Budget(Body):
    """What a run (or for tokens and cost a session) may use; the narrowest of all limits holds."""

    turns: Annotated[int, Field(ge=1)] | None = None
    """Model turns."""
    wall_time: Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s|m|h|d|w)$")] | Annotated[float, Field(gt=0)] | None = (
        None
    )
    """How long a run may act, waiting for people not counted: `15m`, or seconds."""
    model_calls: Annotated[int, Field(ge=1)] | None = None
    """Model calls."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Input and output tokens."""
    cost_usd: Annotated[float, Field(gt=0)] | None = None
    """US dollars; the route needs a price."""


class PublishPlaybook(Body):
    """Make the draft a version."""

    version: Annotated[str, Field(min_length=1, max_length=100)]
    """A semantic version, such as 1.2.0."""
    notes: Annotated[str, Field(max_length=20_000)] | None = None
    """What changed and why; it stands in the tag's message."""


class GivenEvidence(Body):
    """A reference to what shows that a version may be used."""

    kind: Annotated[str, Field(min_length=1, max_length=64)]
    """run, tool_call, task, approval, question, output, asset, commit, file, agent; or attestation."""
    id: Annotated[str, Field(min_length=1, max_length=500)]
    """Its id; of an attestation, the person who says so."""
    description: Annotated[str, Field(max_length=4000)] | None = None
    """What it shows."""


class ReleasePlaybook(Body):
    """Move a version to another state."""

    state: Literal["published", "verified", "canary", "active", "revoked"]
    """published → verified → canary → active → revoked; back to verified from canary and active."""
    evidence: list[GivenEvidence] = Field(default_factory=list, max_length=100)
    """What shows that it may be used; needed once, to become verified."""
    percent: float | None = None
    """Of a canary: how much of the starts that name no version go to it."""
    reason: Reason | None = None
    """Why; it is kept."""
    cancel_flows: bool = False
    """With revoked: cancel its running Flows, too."""


class SessionChanges(Body):
    """Settings of a session; they hold for what comes after. null stands for the default."""

    title: Annotated[str, Field(max_length=500)] | None = None
    """For people."""
    workspace: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The folder where tools act, absolute; without it, the daemon's. It must not overlap the state root."""
    route: Name | None = None
    """`route` or `route/model`; without it, the daemon's default."""
    permission_mode: Mode | None = None
    """What happens to calls that no rule is about."""
    permission_rules: Annotated[list[Rule], Field(max_length=500)] | None = None
    """Rules of this session, beside those of permissions.yaml."""
    persona: Name | None = None
    """A persona's id; the session keeps a snapshot of it."""
    labels: Labels | None = None
    """The caller's own."""
    budget: Budget | None = None
    """What the session's runs may use."""
    input_contract: dict[str, Any] | None = None
    """A JSON Schema (2020-12) that each input must fit."""
    output_contract: dict[str, Any] | None = None
    """A JSON Schema (2020-12) that each final answer must fit."""
    reply_targets: Targets | None = None
    """Where outputs are sent."""
    while_waiting: Literal["hold", "park"] | None = None
    """Whether a run that waits for a person keeps the session to itself, or lets later runs go ahead."""
    capability_scope: CapabilityScope | None = None
    """What its agent sees, and so may call; a persona's own scope holds beside it. Changes need an idle session."""
    credential_scope: CredentialScope | None = None
    """Which routes, connectors and accounts its runs use. Changes need an idle session."""


class CreateSession(SessionChanges):
    """A new session; with an id that is there already, the same settings get that session."""

    session_id: Name | None = None
    """A name of your choice (a-z, 0-9, `.`, `_`, `-`); without it, one is made."""


class ForkSession(Body):
    """A new session with the history of another."""

    at: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Up to when: a commit, a tag, an event number (`n:90412`), a time (`@{2026-11-22T12:00:00Z}`), or an entry of its
    journal (`seq:17`); without it, up to now."""
    session_id: Name | None = None
    """A name of your choice; without it, one is made."""
    title: Annotated[str, Field(max_length=500)] | None = None
    """For people; without it, that of the other."""


class EndSession(Body):
    """How a session ends."""

    force: bool = False
    """Interrupt what runs and cancel what waits; without it, a busy session is left alone (409)."""
    reason: Reason | None = None
    """Why, for the journal."""


class Because(Body):
    """A request that needs no more than an optional reason."""

    reason: Reason | None = None
    """Why, for the journal."""


class TextItem(Body):
    """A part of an input that is text."""

    type: Literal["text"]
    text: str
    """The text itself."""


class AssetItem(Body):
    """A part of an input that is a stored file."""

    type: Literal["asset"]
    asset_id: Name
    """Which one."""


class Submission(Body):
    """What somebody wants done: `content`, or `items`."""

    content: str | None = None
    """The task, as one text."""
    items: (
        Annotated[list[Annotated[TextItem | AssetItem, Field(discriminator="type")]], Field(max_length=1000)] | None
    ) = None
    """The task, in parts."""
    actor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """On whose behalf, for people who read it later; without it, the token's name."""
    source: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Where it comes from (`api`)."""
    metadata: dict[str, Any] | None = None
    """The caller's own; 16 KiB at most."""
    route: Name | None = None
    """`route` or `route/model`; without it, the session's, else the daemon's default."""
    model: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """A model, instead of the route's."""
    generation: Few | None = None
    """The provider's own settings, such as temperature."""
    reply_targets: Targets | None = None
    """Where outputs are sent."""
    completion: Annotated[list[Annotated[str, Field(max_length=20_000)] | Few], Field(max_length=100)] | None = None
    """What must be so before the run counts as completed: texts, `{workspace_file: path}`, `{command: line}` (or
    `{command: {run, exit, timeout}}`), `{output_matches: schema}`."""
    budget: Budget | None = None
    """What this run may use."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same run; may also be the header Idempotency-Key."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Submission:
        if (self.content is None) == (self.items is None):
            raise ValueError("send either content or items")
        return self


class Retry(Body):
    """A run again."""

    idempotency_key: Key | None = None
    """The same key retries once; may also be the header Idempotency-Key."""


class CancelRuns(Body):
    """Which unfinished runs to cancel; what is given must all fit."""

    session: Name | None = None
    """Those of this session."""
    session_id: Name | None = None
    """The same as `session`."""
    status: Literal["queued", "running", "waiting_for_approval", "waiting_for_question", "waiting_for_agent"] | None = (
        None
    )
    """Those with this status."""
    route: Name | None = None
    """Those on this route."""
    kind: Name | None = None
    """Those of this kind."""
    all: bool = False
    """Every unfinished run; must be said where nothing else is."""
    reason: Reason | None = None
    """Why, for the journal."""

    @model_validator(mode="after")
    def _something(self) -> CancelRuns:
        if not self.all and not any((self.session, self.session_id, self.status, self.route, self.kind)):
            raise ValueError("say which runs: session, status, route or kind; or all: true")
        if self.session and self.session_id and self.session != self.session_id:
            raise ValueError("session and session_id differ; send one of them")
        return self


class ResolveApproval(Body):
    """A person's word on an approval."""

    decision: Literal["allow", "deny"]
    """The word."""
    reason: Reason | None = None
    """Why; the model is told it on deny."""
    arguments: dict[str, Any] | None = None
    """Other arguments for the call, with allow."""
    remember: Literal["exact", "pattern"] | None = None
    """Add a rule for the session, so that it need not ask again."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer; may also be the header Idempotency-Key."""


class ResolveOne(ResolveApproval):
    """One of several."""

    approval_id: Name
    """Which one."""


class ResolveApprovals(Body):
    """Several at once: `items`, or `approval_ids` with one decision for all. All of them are resolved, or none."""

    items: Annotated[list[ResolveOne], Field(min_length=1, max_length=200)] | None = None
    """Each with its own decision."""
    approval_ids: Annotated[list[Name], Field(min_length=1, max_length=200)] | None = None
    """Which ones."""
    decision: Literal["allow", "deny"] | None = None
    """The word on all of `approval_ids`."""
    reason: Reason | None = None
    """Why."""

    @model_validator(mode="after")
    def _one_form(self) -> ResolveApprovals:
        if (self.items is None) == (self.approval_ids is None):
            raise ValueError("send either items, or approval_ids with a decision")
        if (self.approval_ids is None) != (self.decision is None):
            raise ValueError("approval_ids and decision go together; items have decisions of their own")
        return self

    def each(self) -> list[ResolveOne]:
        """One for each approval."""
        if self.items is not None:
            return self.items
        assert self.decision is not None
        return [
            ResolveOne(approval_id=id, decision=self.decision, reason=self.reason) for id in self.approval_ids or ()
        ]


class GivenAnswer(Body):
    """What was chosen, and free text where it is taken."""

    selected: list[Name] = Field(default_factory=list, max_length=100)
    """Ids of options."""
    text: Annotated[str, Field(max_length=20_000)] | None = None
    """Free text."""


class AnswerQuestion(Body):
    """Answers to all items of a question at once, by their ids."""

    answers: Annotated[dict[Name, GivenAnswer], Field(max_length=100)]
    """`{"q1": {"selected": ["a"], "text": null}}`"""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer; may also be the header Idempotency-Key."""


class DeclineQuestion(Because):
    """There will be no answer."""

    idempotency_key: Key | None = None
    """The same key with the same request gives the same answer; may also be the header Idempotency-Key."""


class CheckPermission(Body):
    """A call that is not made."""

    tool: Name
    """The tool's name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""
    session_id: Name | None = None
    """With this session's mode, rules and workspace; without it, those of a new session."""
    session: Name | None = None
    """The same as `session_id`."""


class WhichRoute(Body):
    """What to pause or go on with."""

    route: Name | None = None
    """Only what uses this route; null: everything."""


class Resume(WhichRoute):
    """What to go on with, and as whom."""

    takeover: bool = False
    """Write a new incarnation to the backup's remote first, so that the daemon that pushed there so far pauses."""
