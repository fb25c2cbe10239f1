"""Sessions by HTTP: create, list, show, change, end, interrupt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from falcon.asgi import Request, Response
from pydantic import Field

from kheish import ids
from kheish.api import at_revision, search, views
from kheish.api.http import filtering, media, paging
from kheish.api.http.bodies import Because, Body, Labels, Name, Reason, Targets
from kheish.api.http.operation import bind, get, patch, post
from kheish.api.http.paging import Param
from kheish.api.services import Services
from kheish.api.submissions import Budget
from kheish.auth.tokens import Principal
from kheish.domain import keys, personas, routes, runs as domain_runs
from kheish.domain.contracts import check as contracts
from kheish.domain.debug import Level
from kheish.domain.events import frozen
from kheish.domain.outputs import targets
from kheish.domain.permissions.rules import Mode, Rule
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.sessions import end as session_end, session as sessions
from kheish.domain.sessions.session import Session, SessionView
from kheish.domain.workers import placement
from kheish.domain.workers.definition import Choice
from kheish.errors import Fault, Forbidden, Invalid, SessionConflict, SessionDeleted
from kheish.runtime import judging
from kheish.runtime.projects import work
from kheish.state import pins
from kheish.state.state import State
from kheish.store.files import blob_id

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("idle", "busy", "ended")),
    paging.text("route"),
    paging.text("project"),
    Param(name="q", about=f"Only sessions with a matching entry ({search.QUERY}), which is returned as `match`."),
    Param(
        name="permission_mode",
        kind="choice",
        choices=get_args(Mode),
        about="Only with this mode.",
    ),
    paging.PREFIX,
)


class SessionChanges(Body):
    """Settings of a session; they apply to later work. null stands for the default."""

    title: Annotated[str, Field(max_length=500)] | None = None
    """A title for people."""
    workspace: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """The folder in which tools act, absolute; without it, the daemon's. It must not overlap the state root."""
    route: Name | None = None
    """`route` or `route/model`; without it, the daemon's default."""
    permission_mode: Mode | None = None
    """The default decision on calls that no rule matches."""
    permission_rules: Annotated[list[Rule], Field(max_length=500)] | None = None
    """Rules of this session, in addition to those of permissions.yaml."""
    persona: Name | None = None
    """A persona's id; the session keeps a snapshot of it."""
    labels: Labels | None = None
    """The caller's own data."""
    budget: Budget | None = None
    """The budget of the session's runs."""
    input_contract: dict[str, Any] | None = None
    """A JSON Schema (2020-12, or what its `$schema` names) that each input must fit."""
    output_contract: dict[str, Any] | None = None
    """A JSON Schema (2020-12, or what its `$schema` names) that each final answer must fit."""
    reply_targets: Targets | None = None
    """The targets of outputs."""
    while_waiting: Literal["hold", "park"] | None = None
    """Whether a run that waits for a person blocks the session, or lets later runs proceed."""
    capability_scope: CapabilityScope | None = None
    """The tools that its agent sees and may call; a persona's own scope applies in addition. Changes need an idle
    session.
    """
    credential_scope: CredentialScope | None = None
    """The routes, connectors and accounts that its runs use. Changes need an idle session."""
    project: Name | None = None
    """The project that its runs work for: their cost counts there, and they see its memory."""
    announce: Targets | None = None
    """The targets of announcements: waiting approvals and questions, and failed runs; without it, those of the project,
    else of kheish.yaml."""
    debug: Level | None = None
    """The level of debug capture of its runs, instead of the daemon's."""


class CreateSession(SessionChanges):
    """A request to create a session. With an existing id and the same settings, it returns that session."""

    session_id: Name | None = None
    """An id of your choice (a-z, 0-9, `.`, `_`, `-`); without it, one is generated."""
    worker: Choice | None = None
    """The worker that its tools run on: `big`, or `{labels: [gpu]}`, which stands for the freest of those that have
    them. It stays for good. Without it, the persona's; else they run on the daemon's machine."""


class EndSession(Body):
    """A request to end a session."""

    force: bool = False
    """Interrupt active runs and cancel waiting ones; without it, a busy session is left alone (409)."""
    reason: Reason | None = None
    """The reason, for the journal."""


@frozen
class FoundSessionView(SessionView):
    """A session of a list; `match` is present if the list was requested with `q`."""

    match: search.Found | None = None


class Sessions:
    """The resource of `/v1/sessions` and the paths below it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._state = services.state

    async def create_session(self, req: Request, resp: Response) -> None:
        """Create a session (201), or return the existing one with the same settings (200)."""
        body = await media.read(req, CreateSession)
        session_id = ids.check_slug(body.session_id, "session_id") if body.session_id else fresh_id(req)
        filtering.see_new(self._state, req.context.caller, session_id, body.project)
        given = body.model_dump(mode="json", exclude={"session_id"}, exclude_none=True)
        async with using_or_new(self._state, session_id):
            settings = await checked(self._services, given, req.context.caller, session_id)
            _bind_worker(self._state, session_id, settings, req.context.caller)
            named = settings.get("workspace")
            workspace = Path(named) if named is not None else await self._home(session_id, req.context.caller)
            _bind_persona(self._state, session_id, settings)
            session, made = sessions.create(
                self._state, session_id, settings, workspace=workspace, by=req.context.principal
            )
        doc = views.of(self._state, session)
        await self._state.durable()
        resp.set_header("Location", f"/v1/sessions/{session.session_id}")
        media.send(resp, doc, status=201 if made else 200, n=session.n if made else None)

    async def _home(self, session_id: str, caller: Principal) -> Path:
        """Return the workspace of a session that names none; an existing session keeps its own, and one by a limited
        token gets a folder of its own."""
        session = self._state.find(Session, session_id)
        return (
            Path(session.settings["workspace"] or "")
            if session
            else await self._services.workspaces.default(session_id, is_own=bool(caller.limits))
        )

    async def list_sessions(self, req: Request, resp: Response) -> None:
        """Answer with a page of the sessions that the caller may see; with `?q=`, those with a matching entry, the last
        match first."""
        keep = filtering.visible(self._state, req.context.caller)
        if words := req.context.query.get("q"):
            return media.send(resp, await search.sessions(self._state, words, req.context.query, keep))
        return media.send(resp, await views.listed(self._state, Session, req.context.query, keep))

    async def get_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Answer with one session; with `?at=`, as of a commit."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._services, resp, Session, session_id, rev))
        return media.send(resp, await views.document(self._state, Session, session_id))

    async def change_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Change settings; null resets one."""
        body = await media.read(req, SessionChanges)
        given = body.model_dump(mode="json", exclude_unset=True)
        async with self._state.using(session_id):
            if given.get("workspace") == self._state.get(Session, session_id).settings["workspace"]:
                del given["workspace"]  # it remains unchanged
            changes = {key: value for key, value in given.items() if value is not None}
            settings = await checked(self._services, changes, req.context.caller, session_id)
            for name in given.keys() - settings.keys():
                settings[name] = sessions.SETTINGS[name]
            if given.get("workspace", "") is None:
                settings["workspace"] = str(
                    await self._services.workspaces.choose(None, req.context.caller, session_id)
                )
            _bind_persona(self._state, session_id, settings)
            before = self._state.get(Session, session_id)
            session = sessions.update(self._state, session_id, settings, by=req.context.principal)
        await self._answer(resp, session, before)

    async def end_session(self, req: Request, resp: Response, session_id: str) -> None:
        """End a session: it accepts no more input."""
        body = await media.read(req, EndSession)
        async with self._state.using(session_id):
            owned, by = await work.owned(self._state, session_id), req.context.principal
            before = self._state.get(Session, session_id)
            session = session_end.end(self._state, session_id, owned=owned, by=by, reason=body.reason, force=body.force)
        await self._answer(resp, session, before)

    async def interrupt_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Stop the active run at its next safe point; without an active run, nothing changes."""
        body = await media.read(req, Because)
        async with self._state.using(session_id):
            before = self._state.get(Session, session_id)
            if before.active is not None:
                domain_runs.interrupt(self._state, before.active, by=req.context.principal, reason=body.reason)
            session = self._state.get(Session, session_id)
        await self._answer(resp, session, before)

    async def compact_session(self, req: Request, resp: Response, session_id: str) -> None:
        """Request a summary of the conversation, with which the next run begins."""
        body = await media.read(req, Because)
        async with self._state.using(session_id):
            before = self._state.get(Session, session_id)
            session = sessions.request_compaction(self._state, session_id, by=req.context.principal, reason=body.reason)
        await self._answer(resp, session, before)

    async def _answer(self, resp: Response, session: Session, before: Session) -> None:
        n = self._state.n
        await self._state.durable()
        media.send(resp, sessions.view(session), n=n if session.n != before.n else None)


@asynccontextmanager
async def using_or_new(state: State, session_id: str) -> AsyncIterator[None]:
    """Keep the session loaded if it exists or is created meanwhile.

    Raises SessionConflict for the id of a deleted session.
    """
    async with AsyncExitStack() as used:
        try:
            await used.enter_async_context(pins.session_or_new(state, session_id))
        except SessionDeleted as deleted:
            raise SessionConflict(f"{deleted.detail}. {sessions.NEVER_AGAIN}") from None
        yield


def fresh_id(req: Request) -> str:
    """Return an id for a session without a chosen id. The same Idempotency-Key gives the same id, so that a repeated
    request returns the same session.
    """
    key = req.get_header("Idempotency-Key")
    if key is not None:
        keys.check(key)
    return f"session_{sha256(key.encode()).hexdigest()[:26]}" if key else ids.new("session")


async def checked(services: Services, given: dict[str, Any], caller: Principal, session_id: str) -> dict[str, Any]:
    """Return the settings, validated for this caller, in stored form. Raises Invalid, Forbidden.

    A persona is still an id.
    """
    state, settings, faults = services.state, dict(given), list[Fault]()
    if "workspace" in given:
        settings["workspace"] = str(await services.workspaces.choose(given["workspace"], caller, session_id))
    if "route" in given:
        routes.choose(given["route"], None, state.definitions.routes)
    if given.get("permission_mode") == "bypass" and not services.allow_bypass:
        raise Forbidden("The permission mode bypass needs a daemon that was started with --allow-bypass.")
    for name, model in (("capability_scope", CapabilityScope), ("credential_scope", CredentialScope)):
        if given.get(name) is not None:
            settings[name] = model.model_validate(given[name]).model_dump()
    if "budget" in given:
        settings["budget"] = {key: value for key, value in given["budget"].items() if value is not None}
    if given.get("project") is not None:
        faults += _project_faults(state, given["project"], caller)
    for name in ("input_contract", "output_contract"):
        if name in given:
            problems = await judging.run(contracts.check_schema, given[name])
            faults += [Fault(f"/{name}{fault.path}", fault.message) for fault in problems]
    if given.get("persona") is not None and given["persona"] not in state.definitions.by_kind["personas"]:
        faults.append(Fault("/persona", f"there is no persona {given['persona']!r}"))
    for name in ("reply_targets", "announce"):
        faults += targets.faults(state.definitions, given.get(name) or (), state.slots, name)
    if faults:
        reasons = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise Invalid(f"The settings cannot be used: {reasons}.", errors=faults)
    return settings


def _project_faults(state: State, project: str, caller: Principal) -> list[Fault]:
    """Return the fault of an unknown project. Raises Forbidden for one outside the token's filters."""
    if caller.limits and not caller.may_see_project(project):
        raise Forbidden(f"This token has no access to the project {project!r}.")
    is_known = project in state.definitions.by_kind["projects"]
    return [] if is_known else [Fault("/project", f"there is no project {project!r}")]


def _bind_worker(state: State, session_id: str, settings: dict[str, Any], caller: Principal) -> None:
    """Replace the choice of a worker by the worker; an existing session keeps its own if that fits. Raises Invalid,
    Forbidden."""
    filtering.check_placement(caller, settings.get("worker"))
    persona = state.definitions.by_kind["personas"].get(settings.get("persona") or "")
    choices = (settings.pop("worker", None), persona.value.worker if persona is not None else None)
    session = state.find(Session, session_id)
    held = session.worker if session is not None else None
    if (worker := placement.placed(state, *choices, inherited=held)) is not None:
        settings["worker"] = worker
    if caller.limits and session is None:
        settings["keeps_worker"] = True


def _bind_persona(state: State, session_id: str, settings: dict[str, Any]) -> None:
    """Replace the persona's id by its snapshot; if the session has that persona already, by its own snapshot."""
    id = settings.get("persona")
    if id is None:
        return
    persona = state.definitions.get("personas", id)
    session = state.find(Session, session_id)
    held = session.settings["persona"] if session else None
    if held and held["persona_id"] == id and held["digest"] == persona.digest:
        settings["persona"] = held
    else:
        settings["persona"] = personas.snapshot(id, persona.value, persona.digest, ids.now(), blob=blob_id(persona.raw))


ONE = "/v1/sessions/{session_id}"
OPERATIONS = bind(
    Sessions,
    post(
        "/v1/sessions",
        Sessions.create_session,
        "Create a session (201), or return the existing one with the same settings (200).",
        CreateSession,
        SessionView,
        good=(201, 200),
        problems=(409,),
        key=True,
        tie="new",
    ),
    get(
        "/v1/sessions",
        Sessions.list_sessions,
        "List sessions, newest first. A token with filters sees its own; a page may have few of many.",
        FoundSessionView,
        *LIST,
        page=True,
        tie="none",
    ),
    get(
        ONE,
        Sessions.get_session,
        "Get one session, now or as of a commit.",
        SessionView,
        at_revision.AT,
        problems=(404,),
    ),
    patch(
        ONE,
        Sessions.change_session,
        "Change settings for later work; null resets a setting.",
        SessionChanges,
        SessionView,
        problems=(404, 409),
    ),
    post(
        f"{ONE}/end",
        Sessions.end_session,
        "End a session: it accepts no more input.",
        EndSession,
        SessionView,
        problems=(404, 409),
    ),
    post(
        f"{ONE}/compact",
        Sessions.compact_session,
        "Request a summary of the conversation, with which the next run begins.",
        Because,
        SessionView,
        problems=(404, 409),
    ),
    post(
        f"{ONE}/interrupt",
        Sessions.interrupt_session,
        "Stop the active run at its next safe point.",
        Because,
        SessionView,
        problems=(404, 409),
    ),
)
