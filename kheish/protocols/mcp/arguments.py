"""The arguments of each tool; their descriptions are what the client's model reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kheish.ids import MOST

Id = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(min_length=1, max_length=1_000_000)]
Limit = Annotated[int, Field(ge=1, le=100)]


class Arguments(BaseModel):
    """The base of all arguments. Unknown names are rejected."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Nothing(Arguments):
    """No arguments."""


class Page(Arguments):
    """A place in a list."""

    limit: Limit = 20
    """Items of the answer."""
    cursor: Annotated[str, Field(max_length=4000)] | None = None
    """The `next_cursor` of the answer before."""


class StartRun(Arguments):
    """A task for an agent."""

    content: Text
    """The task, in words."""
    session: Id | None = None
    """The session that the task belongs to; it is created if it does not exist. Without it, a new session is made."""
    route: Id | None = None
    """The route to a model; without it, the session's or the default one."""
    skills: Annotated[list[Id], Field(max_length=20)] | None = None
    """Skills that the run begins with."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The same key with the same task starts one run only."""


class StartFlow(Arguments):
    """A start of a Playbook."""

    playbook: Id
    """The Playbook; `list_playbooks` names them."""
    version: Id | None = None
    """The version; without it, the active one."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """The values of the Playbook's inputs; `get_playbook` describes them."""
    session: Id | None = None
    """The session that it runs in; without it, a new one is made."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The same key with the same request starts one Flow only."""


class OneRun(Arguments):
    """A run."""

    run_id: Id
    """The id of the run (`run_…`)."""


class OneFlow(Arguments):
    """A Flow."""

    flow_id: Id
    """The id of the Flow (`flow_…`)."""


class Runs(Page):
    """Runs to list."""

    session: Id | None = None
    """Only those of this session."""
    status: Literal[
        "queued", "running", "waiting_for_approval", "waiting_for_question", "waiting_for_agent", "completed", "failed",
        "cancelled", "interrupted",
    ] | None = None  # fmt: skip
    """Only those with this status."""


class Flows(Page):
    """Flows to list."""

    session: Id | None = None
    """Only those of this session."""
    playbook: Id | None = None
    """Only those of this Playbook."""
    status: Literal["pending", "running", "waiting", "succeeded", "failed", "cancelled", "blocked"] | None = None
    """Only those with this status."""


class Wait(Arguments):
    """A wait."""

    id: Id
    """The run (`run_…`) or Flow (`flow_…`)."""
    seconds: Annotated[float, Field(ge=0, le=50)] = 50
    """The longest wait. If the work continues then, wait again."""


class Cancel(Arguments):
    """Work to stop for good."""

    id: Id
    """The run (`run_…`) or Flow (`flow_…`)."""
    reason: Annotated[str, Field(max_length=2000)] | None = None
    """The reason, for the journal."""


class Sessions(Page):
    """Sessions to list."""

    session: Id | None = None
    """Only this session: for tokens that see some sessions only."""
    status: Literal["idle", "busy", "ended"] | None = None
    """Only those with this status."""
    query: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """Only those whose conversation has these words: `words`, `"a phrase"`, or a prefix, `deplo*`."""


class OneSession(Arguments):
    """A session."""

    session: Id
    """The id of the session."""


class ReadSession(Page):
    """Entries of a session's journal."""

    session: Id
    """The id of the session."""
    run_id: Id | None = None
    """Only entries of this run."""
    after: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """Only entries after this event number."""


class SearchSession(Page):
    """Words in a session's conversation."""

    session: Id
    """The id of the session."""
    query: Annotated[str, Field(min_length=1, max_length=1000)]
    """`words`, `"a phrase"`, or a prefix, `deplo*`."""


class Waiting(Arguments):
    """A filter of pending approvals and questions."""

    session: Id | None = None
    """Only in this session."""


class OnePlaybook(Arguments):
    """A Playbook."""

    playbook: Id
    """The id of the Playbook."""


class ResolveApproval(Arguments):
    """A decision on a call that waits."""

    approval_id: Id
    """The id of the approval; `list_waiting` shows what it is about."""
    decision: Literal["allow", "deny"]
    """The decision."""
    reason: Annotated[str, Field(max_length=2000)] | None = None
    """The reason; on deny, the agent reads it."""


class Given(Arguments):
    """An answer to one item of a question."""

    selected: Annotated[list[Id], Field(max_length=100)] = Field(default_factory=list)
    """Ids of the selected options."""
    text: Annotated[str, Field(max_length=20_000)] | None = None
    """Free text, where it is permitted."""


class AnswerQuestion(Arguments):
    """Answers to all items of a question."""

    question_id: Id
    """The id of the question; `list_waiting` shows its items."""
    answers: Annotated[dict[Id, Given], Field(max_length=100)]
    """The answers, by the ids of the items."""
