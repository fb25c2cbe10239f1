"""The goal of a session by HTTP: get, set, change (pause, resume, raise), clear."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from falcon.asgi import Request, Response
from pydantic import Field, model_validator

from kheish.api import at_revision, views
from kheish.api.http import media, paging
from kheish.api.http.bodies import Body, Few, Reason
from kheish.api.http.operation import bind, delete, get, patch, put
from kheish.api.services import Services
from kheish.authoring import preconditions
from kheish.domain import intake, keys
from kheish.domain.events import Draft, GoalBudget
from kheish.domain.goals import goal as goals, verbs
from kheish.domain.goals.goal import Goal, GoalView
from kheish.domain.goals.verbs import Wanted
from kheish.domain.sessions import session as sessions
from kheish.domain.sessions.session import Session
from kheish.errors import NotFound
from kheish.ids import LONGEST, MOST
from kheish.runtime import judging

Objective = Annotated[str, Field(min_length=1, max_length=verbs.OBJECTIVE_CHARACTERS)]
Completion = Annotated[list[Annotated[str, Field(max_length=20_000)] | Few], Field(max_length=100)]
Seconds = Annotated[float, Field(ge=1, le=LONGEST)] | Annotated[str, Field(max_length=20)]


class GoalLimits(Body):
    """Limits of a goal's whole usage; one that is left out is no limit."""

    tokens: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Input and output tokens."""
    cost_usd: Annotated[float, Field(gt=0, le=MOST)] | None = None
    """US dollars; the session's route needs a price."""
    wall_time: Seconds | None = None
    """The time in which its runs work: seconds, or a duration such as `2h`."""


class SetGoal(Body):
    """A goal. One that the session has, and that is not complete, keeps its usage and the limits that are not given."""

    objective: Objective
    """The result that the agent works for."""
    completion: Completion = Field(default_factory=list)
    """The requirement: texts, `{workspace_file}`, `{command}` or `{output_matches}`, as for a run."""
    budget: GoalLimits | None = None
    """Limits. On a goal that is not complete, one that is left out stays as it is, and null removes one."""


class ChangeGoal(Body):
    """Changes of a goal that is not complete; a field that is left out stays as it is."""

    objective: Objective | None = None
    completion: Completion | None = None
    budget: GoalLimits | None = None
    """Limits; one that is left out stays as it is, and null removes one. The usage stays."""
    add_budget: GoalLimits | None = None
    """Amounts that are added to the limits. A goal at its budget continues."""
    status: Literal["active", "paused"] | None = None
    """`paused`: no further run starts; `active`: the pause ends."""
    reason: Reason | None = None
    """The reason of a pause, with `status: paused`."""

    @model_validator(mode="after")
    def _reason_of_a_pause(self) -> ChangeGoal:
        if self.reason is not None and self.status != "paused":
            raise ValueError("reason is that of a pause: send status: paused with it")
        return self


class Goals:
    """The resource of `/v1/sessions/{session_id}/goal`, and of the list of all goals."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def list_goals(self, req: Request, resp: Response) -> None:
        """Answer with a page of goals, newest first."""
        given = req.context.query
        media.send(resp, await views.listed(self._state, Goal, {**given, "status": given.get("status") or SHOWN}))

    async def get_goal(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with the goal, now or as of a commit (`?at=`)."""
        if (rev := req.context.query.get("at")) is not None:
            doc = await at_revision.document(self._services, resp, Goal, session_id, rev)
        else:
            await views.document(self._state, Session, session_id)  # raises NotFound that names the session
            doc = await views.document(self._state, Goal, session_id)
        if doc["status"] == "cleared":
            raise NotFound(f"The session {session_id!r} has no goal.")
        media.send(resp, doc)

    async def put_goal(self, req: Request, resp: Response, session_id: str) -> None:
        """Set the goal (201), or replace it (200)."""
        body = await media.read(req, SetGoal)
        request = media.idempotency(req, body, f"sessions/{session_id}/goal:put")
        wanted, expected = await _wanted(body), media.sent_etag(req)
        async with self._state.using(session_id):
            key = await keys.known(self._state, request)
            is_new = False
            if keys.earlier(self._state, key) is None:
                is_new = not _is_open(goals.find(self._state, session_id))
                preconditions.check(f"The goal of {session_id}", expected, None if is_new else preconditions.ANY)
                self._check_price(session_id, wanted)
                by = req.context.principal
                self._state.append(*verbs.set_goal(self._state, session_id, wanted, by=by, key=keys.sent(key)))
            await self._answer(resp, session_id, status=201 if is_new else 200)

    async def change_goal(self, req: Request, resp: Response, session_id: str) -> None:
        """Change, pause or resume the goal, or raise its budget."""
        body = await media.read(req, ChangeGoal)
        request = media.idempotency(req, body, f"sessions/{session_id}/goal")
        wanted = await _wanted(body)
        async with self._state.using(session_id):
            key = await keys.known(self._state, request)
            if keys.earlier(self._state, key) is None:
                self._check_price(session_id, wanted)
                add = GoalBudget(**_limits(body.add_budget))
                by = req.context.principal
                sent = keys.sent(key)
                drafts = verbs.change(self._state, session_id, wanted, add, by=by, key=sent)
                drafts += self._moved(session_id, body, drafts, by=by)
                if drafts:  # a goal that is so already stays as it is
                    self._state.append(*drafts)
            await self._answer(resp, session_id)

    async def clear_goal(self, req: Request, resp: Response, session_id: str) -> None:
        """Remove the goal (204); its run that works continues to its end."""
        async with self._state.using(session_id):
            self._state.append(*verbs.clear(self._state, session_id, by=req.context.principal))
            n = self._state.n
            await self._state.durable()
        resp.status = "204 No Content"
        resp.set_header(media.EVENT, str(n))

    # --- shared -------------------------------------------------------------------------------------------------------

    def _moved(self, session_id: str, body: ChangeGoal, drafts: list[Draft], *, by: str) -> list[Draft]:
        """Return the drafts of a pause or its end, after those that change the goal in the same group."""
        if body.status == "paused":
            return verbs.pause(self._state, session_id, body.reason or "a person paused it", by=by)
        return verbs.resume(self._state, session_id, drafts, by=by) if body.status == "active" else []

    def _check_price(self, session_id: str, wanted: Wanted) -> None:
        if wanted.limits.get("cost_usd") is not None:
            intake.check_priced(self._state, sessions.accepting(self._state, session_id))

    async def _answer(self, resp: Response, session_id: str, status: int = 200) -> None:
        doc, n = views.of(self._state, verbs.get(self._state, session_id)), self._state.n
        await self._state.durable()
        media.send(resp, doc, status=status, n=n)


def _is_open(goal: Goal | None) -> bool:
    return goal is not None and goal.status in goals.OPEN


def _limits(given: GoalLimits | None) -> dict[str, Any]:
    """Return the limits that a caller has sent, by name; null is one of them."""
    if given is None:
        return {}
    limits = given.model_dump(exclude_unset=True)
    return limits | ({"wall_time": verbs.seconds(given.wall_time)} if "wall_time" in limits else {})


async def _wanted(body: SetGoal | ChangeGoal) -> Wanted:
    """Return what a caller sets, with the schemas of its requirement checked off the event loop. Raises Invalid."""
    required = tuple(body.completion) if body.completion is not None else None
    if required:
        verbs.read_completion(required)
        await judging.run(verbs.check_schemas, required)
    return Wanted(objective=body.objective, completion=required, limits=_limits(body.budget))


#: a removed goal is in its session's Record only
SHOWN = tuple(one for one in get_args(goals.Status) if one != "cleared")
LIST = (*paging.PAGE, *paging.SESSION, paging.choices("status", SHOWN))
ONE = "/v1/sessions/{session_id}/goal"
OPERATIONS = bind(
    Goals,
    get("/v1/goals", Goals.list_goals, "List goals, newest first.", GoalView, *LIST, page=True, tie="query"),
    get(ONE, Goals.get_goal, "Get the goal of a session, now or as of a commit.", GoalView, at_revision.AT,
        problems=(404,)),
    put(ONE, Goals.put_goal, "Set the goal of a session.", SetGoal, GoalView, problems=(404, 409, 412),
        key=True),
    patch(ONE, Goals.change_goal, "Change, pause or resume the goal, or raise its budget.", ChangeGoal, GoalView,
          problems=(404, 409), key=True),
    delete(ONE, Goals.clear_goal, "Remove the goal of a session.", problems=(404,)),
)  # fmt: skip
