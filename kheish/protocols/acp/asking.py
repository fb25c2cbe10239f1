"""Approvals and questions in the editor: one more place to answer them. The first answer counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acp.exceptions import RequestError
from acp.schema import (
    AcceptElicitationResponse,
    AllowedOutcome,
    DeclineElicitationResponse,
    ElicitationFormSessionMode,
    ElicitationSchema,
    PermissionOption,
    ToolCallUpdate,
)
from pydantic import ValidationError

from kheish.client import requests
from kheish.errors import Conflict, KheishError
from kheish.protocols import access as accesses, dialogs, work as works
from kheish.protocols.access import Access
from kheish.protocols.acp.updates import title
from kheish.protocols.acp.wire import Wire
from kheish.protocols.dialogs import Form, NotShown
from kheish.texts import answer_command

if TYPE_CHECKING:
    from acp.interfaces import Client

VIA = "acp"
_TRIES = 3
#: the decisions that an editor offers
OPTIONS = (
    PermissionOption(option_id="allow", name="Allow", kind="allow_once"),
    PermissionOption(option_id="deny", name="Deny", kind="reject_once"),
)


class Asking:
    """The requests that are open in the editor, by the ids of approvals and questions."""

    def __init__(self, access: Access, editor: Client, wire: Wire, *, shows_forms: bool) -> None:
        self._access = access
        self._editor = editor
        self._wire = wire
        self._shows_forms = shows_forms
        self._open: dict[str, asyncio.Task[str | None]] = {}
        #: the calls of approvals, as the editor was shown them
        self.calls: dict[str, str] = {}

    async def ask(self, session: str, id: str) -> asyncio.Task[str | None] | None:
        """Show an approval or a question, once. The task's result is the reason why it could not be shown, if so."""
        if id in self._open:
            return None
        self._open[id] = asyncio.ensure_future(self._ask(session, id))
        return self._open[id]

    async def withdraw(self, id: str) -> None:
        """Withdraw a request that was answered elsewhere."""
        task = self._open.pop(id, None)
        if task is not None and not task.done():
            task.cancel()
            await self._wire.withdraw(task)

    async def _ask(self, session: str, id: str) -> str | None:
        try:
            if not (await accesses.rights(self._access)).may_answer:
                return f"{id}: this token may not answer; it needs the role approver or above."
            if id.startswith("appr_"):
                await self._approval(session, id)
            else:
                await self._question(session, id)
        except NotShown as why:
            return str(why)
        except (RequestError, ValidationError, ConnectionError) as error:
            return f"{id} could not be shown here ({type(error).__name__})."
        except KheishError as error:
            self._open.pop(id, None)  # the next look at the run asks again
            return f"{id}: {error.detail}"
        return None

    async def _approval(self, session: str, id: str) -> None:
        for _ in range(_TRIES):
            asked = await accesses.repeat(self._access, lambda: requests.get_approval(id))
            if asked["status"] != "pending":
                return
            form = dialogs.of_approval(asked)
            shown = ToolCallUpdate(
                tool_call_id=self.calls.get(id, id),
                title=title(asked["tool"], asked["arguments"]),
                status="pending",
                raw_input=asked["arguments"],
                content=_content(form),
            )
            answer = await self._editor.request_permission(session_id=session, tool_call=shown, options=list(OPTIONS))
            if not isinstance(answer.outcome, AllowedOutcome) or answer.outcome.option_id not in ("allow", "deny"):
                raise NotShown(f"{id} is still open.")
            if await self._decide(form, {"decision": answer.outcome.option_id}) is None:
                return
        raise NotShown(f"{id} changes while it is shown.")

    async def _question(self, session: str, id: str) -> None:
        fault: str | None = None
        for _ in range(_TRIES):
            asked = await accesses.repeat(self._access, lambda: requests.get_question(id))
            if asked["status"] != "pending":
                return
            form = dialogs.of_question(asked, fault)
            if not self._shows_forms:
                raise NotShown(f"This editor shows no forms. Answer with: {answer_command(asked)}\n\n{form.message}")
            mode = ElicitationFormSessionMode(
                session_id=session, requested_schema=ElicitationSchema.model_validate(dict(form.schema))
            )
            answer = await self._editor.create_elicitation(form.message, mode)
            if isinstance(answer, DeclineElicitationResponse):
                await self._decline(id)
                return
            if not isinstance(answer, AcceptElicitationResponse):
                raise NotShown(f"{id} is still open.")
            fault = await self._decide(form, answer.content or {})
            if fault is None:
                return
        raise NotShown(f"{id} is still open: {fault}.")

    async def _decide(self, form: Form, content: Mapping[str, Any]) -> str | None:
        """Send an answer, also over a restart of the daemon; another one may have been first, and the session shows it
        then. Returns what is wrong with the answer, if it cannot be used. Raises the other errors of the operation."""
        try:
            with contextlib.suppress(Conflict):
                await accesses.persist(self._access, lambda: works.decide(self._access, form, content, via=VIA))
        except ValueError as error:
            return str(error)
        return None

    async def _decline(self, id: str) -> None:
        with contextlib.suppress(Conflict):
            await accesses.repeat(self._access, lambda: requests.decline_question(id, "declined in the editor"))


def _content(form: Form) -> list[Any]:
    from acp import helpers

    return [helpers.tool_content(helpers.text_block(form.message))]
