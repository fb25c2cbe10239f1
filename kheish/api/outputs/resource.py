"""Outputs by HTTP: their files with their trust and their switch, and tests of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import definitions
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.http import media
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body, Few
from kheish.api.http.operation import bind, post
from kheish.api.outputs.trusting import FOLDER
from kheish.api.services import Services
from kheish.domain import routes, trusts
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.deliveries import verbs
from kheish.domain.deliveries.delivery import OPEN, STUCK
from kheish.domain.events import frozen
from kheish.runtime.outputs import kinds, trial
from kheish.runtime.outputs.attempts import Attempts

KIND = KINDS["outputs"]
_COUNTED = 10_000
_OPEN = tuple(str(state) for state in sorted(OPEN))
_STUCK = tuple(str(state) for state in sorted(STUCK))


@frozen
class OutputDetailsView(DefinitionView):
    """An output: the fields of its file, and the following."""

    of_now = True

    state: Literal["ready", "not_ready", "untrusted", "off", "failing", "disabled"]
    """failing: nothing can be sent, such as with a kind that is not installed; off: its receiver switched it off."""
    last_error: str | None
    """The reason why nothing is sent."""
    trusted: bool
    """Whether it may run: it has no command, or a user has trusted its content."""
    off_because: str | None
    """The reason why its receiver switched it off (410); null if it is on."""
    open_deliveries: int
    """Its deliveries that are sent or wait; 10,000 stands for more."""
    stuck_deliveries: int
    """Its deliveries that need a user: dead letters, and held ones."""


class TestOutput(Body):
    """A request to send a sample."""

    target: Few = Field(default_factory=dict)
    """The address, where the file has none: `channel`, `chat`, `to`, …"""
    content: Annotated[str, Field(min_length=1, max_length=16_000)] | None = None
    """The text; without it, a text that says that it is a test."""


class OutputTrial(Answer):
    """The outcome of a test."""

    output: str
    target: dict[str, Any]
    ok: bool
    error: str | None
    """The reason why it did not arrive."""
    receipt: str | None
    """The platform's id of the message."""
    duration_ms: int


class OutputFiles(Definitions):
    """The files, each with its trust, its switch and its deliveries."""

    added = ("state", "last_error", "trusted", "off_because", "open_deliveries", "stuck_deliveries")

    async def stored(self, id: str, by: str) -> None:
        """Trust a content that an admin wrote."""
        found = self._state.definitions.get(KIND.name, id)
        if found.value.commands:
            commands = found.value.commands
            await trusts.trust(self._state, f"{FOLDER}{id}", found.digest, by=by, commands=commands, via="api")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        return [await self._of(one) for one in found]

    async def _of(self, one: Definition) -> dict[str, Any]:
        needs_trust = bool(one.value.commands)
        trusted = not needs_trust or await trusts.is_trusted(self._state, f"{FOLDER}{one.id}", one.digest)
        off = await verbs.off(self._state, one.id)
        state, error = await self._state_of(one, trusted=trusted, off=off)
        return {
            "state": state,
            "last_error": error,
            "trusted": trusted,
            "off_because": off,
            "open_deliveries": await self._count(one.id, _OPEN),
            "stuck_deliveries": await self._count(one.id, _STUCK),
        }

    async def _state_of(self, one: Definition, *, trusted: bool, off: str | None) -> tuple[str, str | None]:
        """Return the state of an output, and the reason why nothing is sent to it."""
        if one.value.disabled:
            return "disabled", None
        if (why := await kinds.lacking(one.value.kind)) is not None:
            return "failing", why
        if not trusted:
            return "untrusted", f"its command is not trusted: kheish trust {FOLDER}{one.id}"
        if off is not None:
            return "off", f"{off}: kheish outputs enable {one.id}"
        slots = self._state.slots
        reasons = (routes.lacking(slot, os.environ, slots) for slot in one.value.secrets)
        why = next((reason for reason in reasons if reason), None)
        return ("ready", None) if why is None else ("not_ready", why)

    async def shown(self, one: Definition) -> dict[str, Any]:
        """Return an output as answers have it."""
        return self._view(one, more=await self._of(one))

    async def _count(self, id: str, statuses: Sequence[str]) -> int:
        index = self._state.index
        return await asyncio.to_thread(index.count, "delivery", statuses, at_most=_COUNTED, fields={"output": id})


class Outputs:
    """The resource of the paths below `/v1/outputs/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state
        self._attempts = Attempts(services.state, services.broker)

    async def test_output(self, req: Request, resp: Response, id: str) -> None:
        """Send a sample to an output."""
        body = await media.read(req, TestOutput)
        found = self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        cwd = str(await self._services.workspaces.default("outputs"))
        by = req.context.principal
        done = await trial.run(self._attempts, found, body.target, body.content, cwd=cwd, by=by)
        media.send(resp, done, n=self._state.n)

    async def enable_output(self, req: Request, resp: Response, id: str) -> None:
        """Switch an output on again that its receiver switched off."""
        await media.read(req, Body)
        await verbs.switch_on(self._state, ids.check_slug(id, "id"), by=req.context.principal)
        n = self._state.n
        await self._state.durable()
        found = self._state.definitions.get(KIND.name, id)
        files = OutputFiles(self._services, KIND)
        media.send(resp, await files.shown(found), n=n)


ONE = "/v1/outputs/{id}"
OPERATIONS = (
    *definitions.operations(KIND, OutputFiles, OutputDetailsView),
    *bind(
        Outputs,
        post(
            f"{ONE}/test",
            Outputs.test_output,
            "Send a sample to an output.",
            TestOutput,
            OutputTrial,
            problems=(404, 409),
        ),
        post(
            f"{ONE}/enable",
            Outputs.enable_output,
            "Switch an output on again that its receiver switched off.",
            None,
            OutputDetailsView,
            problems=(404, 409),
        ),
    ),
)
