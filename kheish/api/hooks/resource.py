"""Hooks by HTTP: their files with their counts, their invocations, and trials."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import definitions, views
from kheish.api.definitions import Definitions, DefinitionView
from kheish.api.hooks import trusting
from kheish.api.http import media, paging
from kheish.api.http.answer import Answer
from kheish.api.http.bodies import Body
from kheish.api.http.operation import bind, get, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.domain.definitions import KINDS, Definition
from kheish.domain.events import frozen
from kheish.domain.events.hooks import HOOKS
from kheish.domain.hooks.invocation import HookInvocation, HookTally
from kheish.errors import Invalid, NotFound
from kheish.runtime.hooks import binding
from kheish.state import pins

KIND = KINDS["hooks"]
STATES = ("running", "settled", "dead")
INVOCATIONS = (
    *paging.PAGE,
    Param(
        name="status",
        about="Only invocations with this status; `dead` lists the failed ones.",
        choices=STATES,
        many=True,
    ),
)


@frozen
class HookDetailsView(DefinitionView):
    """A hook: the fields of its file, and the following."""

    of_now = True

    trusted: bool
    """Whether it may run: it needs no trust, or a user has trusted its content."""
    untrusted_because: str | None
    """The reason why it is not started."""
    bound: list[str]
    """The files outside system folders that its trust covers."""
    runs: int
    """Its invocations so far."""
    failures: int
    """Those of them that gave no answer."""
    last: dict[str, Any] | None
    """The newest invocation: `at`, `event`, `invocation_id`, `result`, `reason`, `duration_ms`."""


class TestHook(Body):
    """A request to run a hook once, with an input that is made from these fields."""

    event: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The event; without it, the first of the file."""
    input: dict[str, Any] = Field(default_factory=dict, max_length=1000)
    """Fields of the input: `tool_name`, `tool_input`, `prompt`, …"""
    session: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The session whose workspace and transcript it gets; without it, the daemon's workspace."""


class HookTrial(Answer):
    """The outcome of a trial. It decides nothing."""

    hook: str
    event: str
    matches: bool
    """Whether its matcher means this input; it runs anyway."""
    result: Literal["ok", "blocked", "failed"]
    reason: str | None
    answer: dict[str, Any] | None
    """Its answer, as it was understood; null if it failed."""
    input: dict[str, Any]
    """The input that it got."""
    invocation_id: str
    duration_ms: int


class HookFiles(Definitions):
    """The files, each with its counts and its trust."""

    added = ("trusted", "untrusted_because", "bound", "runs", "failures", "last")

    async def stored(self, id: str, by: str) -> None:
        found = self._state.definitions.get(KIND.name, id)
        if found.value.commands:
            with contextlib.suppress(Invalid):  # it is stored, and its answer has the reason why it is not started
                await trusting.write(self._state, found, by=by, via="api")

    async def _added(self, found: Sequence[Definition]) -> list[dict[str, Any]]:
        return [await self._of(one) for one in found]

    async def _of(self, one: Definition) -> dict[str, Any]:
        judged = await binding.judge(self._state, one)
        async with pins.owner(self._state, HOOKS, one.id):
            tally = self._state.find(HookTally, one.id)
        return {
            "trusted": judged.reason is None,
            "untrusted_because": judged.reason,
            "bound": sorted(judged.files),
            "runs": tally.runs if tally is not None else 0,
            "failures": tally.failures if tally is not None else 0,
            "last": tally.last if tally is not None else None,
        }


class Hooks:
    """The resource of the paths below `/v1/hooks/{id}` that other Definitions do not have."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def hook_invocations(self, req: Request, resp: Response, id: str) -> None:
        """Answer with a page of invocations, newest first; also those of a hook that was removed."""
        ids.check_slug(id, "id")
        page = await views.listed(self._state, HookInvocation, {**req.context.query, "session": f"{HOOKS}/{id}"})
        if not page["items"] and id not in self._state.definitions.by_kind[KIND.name]:
            async with pins.owner(self._state, HOOKS, id):
                if self._state.find(HookTally, id) is None:
                    raise NotFound(f"There is no hook {id!r}.")
        media.send(resp, page)

    async def test_hook(self, req: Request, resp: Response, id: str) -> None:
        """Run a hook once; an untrusted one is refused."""
        body = await media.read(req, TestHook)
        found = self._state.definitions.get(KIND.name, ids.check_slug(id, "id"))
        cwd = "" if body.session else str(await self._services.workspaces.default("hooks"))
        done = await self._services.hooks.test(found, body.event, body.input, session_id=body.session, cwd=cwd)
        media.send(resp, done, n=self._state.n)


ONE = "/v1/hooks/{id}"
OPERATIONS = (
    *definitions.operations(KIND, HookFiles, HookDetailsView),
    *bind(
        Hooks,
        get(
            f"{ONE}/invocations",
            Hooks.hook_invocations,
            "List the invocations of a hook, newest first; `status=dead` lists those that failed.",
            HookInvocation,
            *INVOCATIONS,
            page=True,
            problems=(404,),
        ),
        post(
            f"{ONE}/test",
            Hooks.test_hook,
            "Run a hook once, with an input that the caller gives; its answer decides nothing.",
            TestHook,
            HookTrial,
            problems=(404, 409),
        ),
    ),
)
