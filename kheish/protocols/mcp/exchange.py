"""One tool call: the caller's access, the client's abilities, and its user's answers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from kheish.client import requests
from kheish.errors import KheishError
from kheish.protocols import access as accesses, work as works
from kheish.protocols.access import Access, Rights
from kheish.protocols.dialogs import Form
from kheish.protocols.work import Work

TASKS = "io.modelcontextprotocol/tasks"
#: protocol versions of the handshake whose forms have choices with titles
_TITLED = ("2025-11-25",)
#: seconds that a form of an older client stays open, and between two looks whether another user was first
_FORM_OPEN, _LOOK = 600.0, 2.0
#: forms of one round, and answers that cannot be used before a form is given up
_FORMS, _TRIES = 200, 3


class AnswerNeeded(Exception):
    """The end of a modern client's call, which is repeated with its user's answers."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("the user's answers are needed")
        self.result = result


@dataclass(slots=True)
class Exchange:
    """A call. `shown` are the forms of earlier rounds with what they showed; `closed` those that the user left;
    `faults` says what was wrong with answers, and `tries` counts them."""

    access: Access
    context: ServerRequestContext[Any, Any]
    responses: Mapping[str, Any] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    known: Rights | None = None

    @property
    def is_modern(self) -> bool:
        """Return whether the client speaks a version without handshake."""
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def is_titled(self) -> bool:
        """Return whether the client supports choices with titles."""
        return self.is_modern or self.context.protocol_version in _TITLED

    async def rights(self) -> Rights:
        """Return the caller's rights; they are asked for once. Raises KheishError."""
        if self.known is None:
            self.known = await accesses.rights(self.access)
        return self.known

    async def can_ask(self) -> bool:
        """Return whether the client shows forms, and the caller may answer. Raises KheishError."""
        return shows_forms(self.context) and (await self.rights()).may_answer

    @property
    def has_tasks(self) -> bool:
        """Return whether the client follows tasks."""
        return has_tasks(self.context)

    async def progress(self, since: float, most: float, message: str) -> None:
        """Report the seconds that have passed, to a client that wants reports."""
        passed = min(most, time.monotonic() - since)
        await self.context.session.report_progress(passed, most, message)

    def resume(self, state: str | None) -> None:
        """Take up what earlier rounds of the call left. The state was sealed by this server."""
        if state is None:
            return
        kept = json.loads(state)
        self.shown, self.closed = dict(kept["shown"]), set(kept["closed"])

    # --- answers ------------------------------------------------------------------------------------------------------

    async def receive(self) -> None:
        """Send the answers of a modern client's user: only those to forms that this call has shown."""
        for key, bound in self.shown.items():
            given = self.responses.get(key)
            await self._accept(Form(key, bound, "", {}), given)
        self.shown = {}

    async def _accept(self, form: Form, given: Any) -> None:
        """Send an answer. A form that was left, or whose answer came too late, is not shown again in this call."""
        if not isinstance(given, types.ElicitResult) or given.action != "accept":
            self.closed.add(form.key)
            return
        try:
            await works.decide(self.access, form, given.content or {})
        except ValueError as fault:
            self.faults[form.key] = str(fault)
            self.tries[form.key] += 1
            if self.tries[form.key] >= _TRIES:
                self.closed.add(form.key)
        except KheishError:
            self.closed.add(form.key)  # another user was first, or the caller may not: the next reading shows it

    async def ask(self, work: Work, forms: Sequence[Form]) -> None:
        """Show forms, and send the user's answers. Raises AnswerNeeded with a modern client."""
        if self.is_modern:
            shown = {form.key: form.bound for form in forms[:_FORMS]}
            state = json.dumps({"shown": shown, "closed": sorted(self.closed)})
            raise AnswerNeeded(
                types.InputRequiredResult(
                    input_requests={form.key: elicitation(form) for form in forms[:_FORMS]}, request_state=state
                )
            )
        for form in forms:
            await self._show(work, form)

    async def _show(self, work: Work, form: Form) -> None:
        """Show one form to the user of an older client, until it is answered, here or elsewhere."""
        began = time.monotonic()
        self.faults.pop(form.key, None)
        given: types.ElicitResult | None = None
        with anyio.move_on_after(_FORM_OPEN):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch, form, began, tasks.cancel_scope)
                try:
                    given = await self.context.session.elicit_form(
                        form.message, dict(form.schema), related_request_id=self.context.request_id
                    )
                except (MCPError, ValueError):  # the client cannot show it, or its answer is no answer
                    given = None
                tasks.cancel_scope.cancel()
        await self._accept(form, given)

    async def _watch(self, form: Form, began: float, scope: anyio.CancelScope) -> None:
        """Withdraw a form that was answered elsewhere."""
        is_approval = form.key.startswith("appr_")
        read: Any = requests.get_approval if is_approval else requests.get_question
        while True:
            await anyio.sleep(_LOOK)
            await self.progress(began, _FORM_OPEN, "waiting for the user's answer")
            try:
                found: Any = await self.access.send(read(form.key))
            except KheishError:
                continue
            if found["status"] != "pending":
                scope.cancel()


def shows_forms(context: ServerRequestContext[Any, Any]) -> bool:
    """Return whether the client shows forms to its user. A capability without modes means forms."""
    capabilities = context.session.client_capabilities
    asked = capabilities.elicitation if capabilities is not None else None
    return asked is not None and (asked.form is not None or asked.url is None)


def has_tasks(context: ServerRequestContext[Any, Any]) -> bool:
    """Return whether the client follows tasks: it says so with each request."""
    capabilities = context.session.client_capabilities
    extensions = capabilities.extensions if capabilities is not None else None
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS and TASKS in (extensions or {})


def elicitation(form: Form) -> types.ElicitRequest:
    """Return a form as a request for the client."""
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=form.message, requested_schema=dict(form.schema))
    )
