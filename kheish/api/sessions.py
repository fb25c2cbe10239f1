"""Sessions by HTTP: make, list, show, change, end, interrupt, their journal, events and runs."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

from falcon.asgi import Request, Response

from kheish import ids
from kheish.api import at_revision, models, runs, search, views
from kheish.api.http import media, paging, sse
from kheish.api.http.feed import Feed
from kheish.api.http.paging import Given, Param
from kheish.api.http.waiting import Waits
from kheish.api.services import Services
from kheish.auth.tokens import Principal
from kheish.domain import closing, contracts, intake, keys, personas, routes, sessions
from kheish.domain import runs as domain_runs
from kheish.domain.events import Entry, Idempotency, Item
from kheish.domain.keys import KeyUse, key_id
from kheish.domain.permission_rules import Mode
from kheish.domain.scopes import CapabilityScope, CredentialScope
from kheish.domain.sessions import Session
from kheish.domain.state import State
from kheish.domain.tasks import Task
from kheish.errors import Fault, Forbidden, Invalid, NotFound, SessionConflict, SessionDeleted
from kheish.runtime import judging, submission
from kheish.store.files import blob_id

LIST = (
    *paging.PAGE,
    *paging.SESSION,
    paging.choices("status", ("idle", "busy", "ended")),
    paging.text("route"),
    Param(name="q", about=f"Only those in which something says this ({search.QUERY}), with where (`match`)."),
    Param(
        name="permission_mode",
        kind="choice",
        choices=get_args(Mode),
        about="Only with this mode.",
    ),
    paging.PREFIX,
)
JOURNAL = (
    *paging.PAGE,
    Param(name="after", kind="count", about="Entries after this event number."),
    Param(name="run", about="Only those of this run."),
    Param(name="kind", many=True, about="Only entries of this kind."),
)
TASKS = (
    *paging.PAGE,
    paging.choices("status", ("pending", "in_progress", "blocked", "completed", "failed", "cancelled")),
)
WAIT = (Param(name="wait", kind="duration", about="Answer when the run ends, waits, or this time is over (`30s`)."),)


class Sessions:
    """`/v1/sessions` and what is below."""

    def __init__(self, parts: Services, feed: Feed, waits: Waits) -> None:
        self._parts = parts
        self._state = parts.state
        self._feed = feed
        self._waits = waits

    async def on_post(self, req: Request, resp: Response) -> None:
        """Make a session (201), or get the one that is there with the same settings (200)."""
        body = await media.read(req, models.CreateSession)
        session_id = ids.check_slug(body.session_id, "session_id") if body.session_id else fresh_id(req)
        await load_or_new(self._state, session_id)
        given = body.model_dump(mode="json", exclude={"session_id"}, exclude_none=True)
        settings = await checked(self._parts, given, req.context.caller, session_id)
        workspace = Path(settings["workspace"]) if "workspace" in settings else await self._home(session_id)
        _bind_persona(self._state, session_id, settings)
        session, made = sessions.create(
            self._state, session_id, settings, workspace=workspace, by=req.context.principal
        )
        doc = views.of(self._state, session)
        await self._state.durable()
        resp.set_header("Location", f"/v1/sessions/{session.session_id}")
        media.send(resp, doc, status=201 if made else 200, n=session.n if made else None)

    async def _home(self, session_id: str) -> Path:
        """The workspace of a session that names none; one that is there keeps its own."""
        there = self._state.find(Session, session_id)
        return Path(there.settings["workspace"] or "") if there else await self._parts.workspaces.default(session_id)

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of sessions; with `?q=`, those in which something says this, the last said first."""
        if words := req.context.query.get("q"):
            return media.send(resp, await search.sessions(self._state, words, req.context.query))
        return media.send(
            resp, await views.listed(self._state, Session, req.context.query, ("route", "permission_mode"))
        )

    async def on_get_one(self, req: Request, resp: Response, session_id: str) -> None:
        """One session; with `?at=`, as it was."""
        if rev := req.context.query.get("at"):
            return media.send(resp, await at_revision.document(self._parts, resp, Session, session_id, rev))
        return media.send(resp, await views.document(self._state, Session, session_id))

    async def on_patch_one(self, req: Request, resp: Response, session_id: str) -> None:
        """Change settings; null resets one."""
        body = await media.read(req, models.SessionChanges)
        await self._state.load(session_id)
        given = body.model_dump(mode="json", exclude_unset=True)
        if given.get("workspace") == self._state.get(Session, session_id).settings["workspace"]:
            del given["workspace"]  # it stays as it is
        wanted = {key: value for key, value in given.items() if value is not None}
        settings = await checked(self._parts, wanted, req.context.caller, session_id)
        for name in given.keys() - settings.keys():
            settings[name] = sessions.SETTINGS[name]
        if given.get("workspace", "") is None:
            settings["workspace"] = str(await self._parts.workspaces.choose(None, req.context.caller, session_id))
        await self._state.load(session_id)
        _bind_persona(self._state, session_id, settings)
        before = self._state.get(Session, session_id)
        session = sessions.update(self._state, session_id, settings, by=req.context.principal)
        await self._answer(resp, session, before)

    async def on_delete_one(self, req: Request, resp: Response, session_id: str) -> None:
        """Take a session out of the tree and the index; says what stays in git's history."""
        await self._state.load(session_id)
        entry = closing.delete(self._state, session_id, by=req.context.principal)
        await self._state.durable()
        media.send(resp, {**closing.tombstone(entry), "remains": _remains(entry)}, n=entry.n)

    async def on_post_end(self, req: Request, resp: Response, session_id: str) -> None:
        """Take no more input."""
        body = await media.read(req, models.EndSession)
        await self._state.load(session_id)
        before = self._state.get(Session, session_id)
        session = closing.end(self._state, session_id, by=req.context.principal, reason=body.reason, force=body.force)
        await self._answer(resp, session, before)

    async def on_post_interrupt(self, req: Request, resp: Response, session_id: str) -> None:
        """Stop the active run at its next safe point; where none is active, nothing changes."""
        body = await media.read(req, models.Because)
        await self._state.load(session_id)
        before = self._state.get(Session, session_id)
        if before.active is not None:
            domain_runs.interrupt(self._state, before.active, by=req.context.principal, reason=body.reason)
        await self._answer(resp, self._state.get(Session, session_id), before)

    async def _answer(self, resp: Response, session: Session, before: Session) -> None:
        n = self._state.n
        await self._state.durable()
        media.send(resp, sessions.view(session), n=n if session.n != before.n else None)

    async def on_get_journal(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of journal lines, oldest first, verbatim."""
        await views.document(self._state, Session, session_id)
        await self._state.caught_up()
        given: Given = req.context.query
        limit = given.get("limit", paging.LIMIT)
        place = paging.number_of("n", given.get("cursor"))
        rows = await asyncio.to_thread(
            self._state.index.events,
            given.get("after", 0) if place is None else place,
            limit=limit + 1,
            session=session_id,
            run=given.get("run"),
            kinds=given.get("kind", ()),
        )
        more = len(rows) > limit
        cursor = f'"{paging.cursor_of("n", rows[limit - 1][0])}"' if more else "null"
        lines = ",".join(line for _, _, line in rows[:limit])
        media.send(resp, f'{{"items":[{lines}],"next_cursor":{cursor}}}'.encode())

    async def on_get_tasks(self, req: Request, resp: Response, session_id: str) -> None:
        """A page of the session's tasks, newest first."""
        await views.document(self._state, Session, session_id)
        media.send(resp, await views.listed(self._state, Task, {**req.context.query, "session": session_id}))

    async def on_get_events(self, req: Request, resp: Response, session_id: str) -> None:
        """The session's events as a stream."""
        await views.document(self._state, Session, session_id)
        sse.answer(req, resp, self._parts, self._feed, session=session_id)

    async def on_post_runs(self, req: Request, resp: Response, session_id: str) -> None:
        """Queue a run (202)."""
        body = await media.read(req, models.Submission)
        key = media.idempotency(req, body, f"sessions/{session_id}/runs")
        await self._state.load(session_id)
        if key is not None:
            await self._state.recall(KeyUse, key_id(key.scope, key.key))
            await self._state.load(session_id)
        given = wanted(session_id, body, actor=req.context.principal, source="api", key=key)
        run = await submission.submit(self._state, given, by=req.context.principal)
        await runs.accepted(self._parts, self._waits, req, resp, run)


async def load_or_new(state: State, session_id: str) -> None:
    """Bring the session into memory where there is one. Raises SessionConflict for the id of a deleted one."""
    try:
        await state.load(session_id)
    except SessionDeleted as deleted:
        raise SessionConflict(f"{deleted.detail}. Ids are never used again; choose another.") from None
    except NotFound:
        pass


def _remains(entry: Entry) -> str:
    path = closing.tombstone(entry)["path"]
    return (
        "The folder goes with the next commit, within seconds. Git never forgets: the commits up to then still have "
        f"it, and so has every clone and push of them (git log -- {path}). Its workspace is left as it is. Rotate what "
        "must not be known."
    )


def fresh_id(req: Request) -> str:
    """An id for a session that got none; the same for the same Idempotency-Key, so that a repeated request finds it."""
    key = req.get_header("Idempotency-Key")
    if key is not None:
        keys.check(key)
    return f"session_{sha256(key.encode()).hexdigest()[:26]}" if key else ids.new("session")


def wanted(
    session_id: str,
    body: models.Submission,
    *,
    actor: str,
    source: str,
    key: Idempotency | None,
    checks_ask: bool = False,
) -> intake.Input:
    """What a submission asks for, whichever way it came; `actor` and `source` where it names none itself."""
    return intake.Input(
        session_id=session_id,
        items=_items(body),
        actor=body.actor or actor,
        source=body.source or source,
        metadata=body.metadata or {},
        route=body.route,
        model=body.model,
        generation=body.generation or {},
        budget=body.budget.model_dump(exclude_none=True) if body.budget else None,
        reply_targets=tuple(body.reply_targets or ()),
        completion=tuple(body.completion or ()),
        idempotency=key,
        checks_ask=checks_ask,
    )


def _items(body: models.Submission) -> tuple[Item, ...]:
    if body.items is None:
        return (Item(text=body.content),)
    return tuple(
        Item(type="text", text=item.text)
        if isinstance(item, models.TextItem)
        else Item(type="asset", asset_id=item.asset_id)
        for item in body.items
    )


async def checked(parts: Services, given: dict[str, Any], caller: Principal, session_id: str) -> dict[str, Any]:
    """Return settings that a session may have by its caller, as it keeps them; a persona is still an id. Raises
    Invalid, Forbidden."""
    state, settings, faults = parts.state, dict(given), list[Fault]()
    if "workspace" in given:
        settings["workspace"] = str(await parts.workspaces.choose(given["workspace"], caller, session_id))
    if "route" in given:
        routes.choose(given["route"], None, state.definitions.routes)
    if given.get("permission_mode") == "bypass" and not parts.allow_bypass:
        raise Forbidden("The permission mode bypass needs a daemon that was started with --allow-bypass.")
    for name, model in (("capability_scope", CapabilityScope), ("credential_scope", CredentialScope)):
        if given.get(name) is not None:
            settings[name] = model.model_validate(given[name]).model_dump()
    if "budget" in given:
        settings["budget"] = {key: value for key, value in given["budget"].items() if value is not None}
    for name in ("input_contract", "output_contract"):
        if name in given:
            found = await judging.run(contracts.check_schema, given[name])
            faults += [Fault(f"/{name}{fault.path}", fault.message) for fault in found]
    if given.get("persona") is not None and given["persona"] not in state.definitions.by_kind["personas"]:
        faults.append(Fault("/persona", f"there is no persona {given['persona']!r}"))
    for number, _ in enumerate(given.get("reply_targets") or ()):
        faults.append(Fault(f"/reply_targets/{number}", "there is no such connector"))
    if faults:
        told = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise Invalid(f"The settings cannot be used: {told}.", errors=faults)
    return settings


def _bind_persona(state: State, session_id: str, settings: dict[str, Any]) -> None:
    """Put the persona's snapshot in the place of its id; where the session has it already, its own."""
    id = settings.get("persona")
    if id is None:
        return
    found = state.definitions.get("personas", id)
    there = state.find(Session, session_id)
    held = there.settings["persona"] if there else None
    if held and held["persona_id"] == id and held["digest"] == found.digest:
        settings["persona"] = held
    else:
        settings["persona"] = personas.snapshot(id, found.value, found.digest, ids.now(), blob=blob_id(found.raw))
