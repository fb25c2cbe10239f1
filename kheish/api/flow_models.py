"""What callers may send about Flows (see `models`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from kheish.api.models import Body, Budget, Key, Name, Reason, Targets


class StartFlow(Body):
    """What to start, and with what."""

    playbook: Name
    """Which Playbook; also `id@version`."""
    version: Name | None = None
    """Which version, verified or above; without it, the active one, or a canary by its percent."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """What the Playbook's `inputs` ask for."""
    session_id: Name | None = None
    """The session that it runs in; without it, one is made."""
    budget: Budget | None = None
    """What the Flow may use: cost, tokens and model calls over all of its runs, turns and wall time in each."""
    reply_targets: Targets | None = None
    """Where outputs are sent."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same Flow; may also be the header Idempotency-Key."""


class AttachEvidence(Body):
    """Something that shows what was done."""

    kind: Literal[
        "run", "tool_call", "task", "approval", "question", "output", "asset", "commit", "file", "agent", "attestation"
    ]
    """What it is. An attestation is your own word."""
    id: Annotated[str, Field(min_length=1, max_length=500)]
    """Its name in the Playbook's `evidence`, or the reference itself."""
    ref: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """What it refers to; without it, `id` is that."""
    phase: Name | None = None
    """The phase that it belongs to; without it, the one that wants it, else the Flow as a whole."""
    description: Annotated[str, Field(max_length=4000)] = ""
    """What it shows. An attestation is this text."""
    idempotency_key: Key | None = None
    """The same key attaches once; may also be the header Idempotency-Key."""


class CancelFlow(Body):
    """Stop a Flow and its runs."""

    reason: Reason | None = None
    """Why, for the journal."""
