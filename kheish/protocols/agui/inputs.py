"""Inputs of AG-UI: a thread, a run, the messages, and the answers to interrupts."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from kheish import ids
from kheish.errors import Fault, Invalid, UnsupportedParameter
from kheish.protocols.openai import messages
from kheish.protocols.openai.messages import Conversation
from kheish.store.edits import surrogates


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Resume(_Part):
    """The answer to an interrupt."""

    interrupt_id: str = Field(max_length=200)
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class Choice(_Part):
    """The persona, route and workspace that a client chooses, in `forwardedProps.kheish`; a new thread keeps them."""

    persona: str | None = None
    route: str | None = None
    workspace: str | None = None


class Forwarded(_Part):
    """The properties that a client forwards."""

    kheish: Choice = Choice()


class RunInput(_Part):
    """The body of `POST /agui`."""

    thread_id: str = Field(min_length=1, max_length=500)
    run_id: str = Field(min_length=1, max_length=500)
    messages: list[dict[str, Any]] = Field(default=[], max_length=10_000)
    tools: list[Any] | None = None
    resume: list[Resume] | None = Field(default=None, max_length=100)
    forwarded_props: Forwarded | None = None

    @property
    def session(self) -> str:
        """The session of the thread: its id, or a digest of one that cannot name a session."""
        return self.thread_id if ids.is_slug(self.thread_id) else f"agui-{_digest(self.thread_id)}"

    @property
    def key(self) -> str:
        """The idempotency key of the run."""
        return f"agui-{_digest(self.thread_id + chr(0) + self.run_id)}"

    @property
    def choice(self) -> Choice:
        """The client's choice of persona, route and workspace."""
        return self.forwarded_props.kheish if self.forwarded_props is not None else Choice()


def parse(raw: bytes) -> RunInput:
    """Return the input of a request. Raises Invalid, UnsupportedParameter."""
    try:
        given = RunInput.model_validate_json(surrogates.replaced(raw))
    except ValidationError as error:
        faults = [Fault("/" + "/".join(map(str, one["loc"])), one["msg"]) for one in error.errors()[:10]]
        raise Invalid(f"{faults[0].path}: {faults[0].message}", errors=faults) from error
    if given.tools:
        raise UnsupportedParameter(
            "Tools of the client are not supported: the agent has tools of its own. Leave tools empty.", param="tools"
        )
    return given


def conversation(given: RunInput) -> Conversation:
    """Return the texts of the messages. Raises Invalid, UnsupportedParameter."""
    kept = [
        {"role": one.get("role"), "content": one.get("content")}
        for one in given.messages
        if one.get("role") in ("system", "developer", "user") or (one.get("role") == "assistant" and one.get("content"))
    ]
    return messages.conversation(kept)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
