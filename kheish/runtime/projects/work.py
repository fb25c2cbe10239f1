"""Work on the tasks of projects, the same for the API, for agents and for schedules: each function loads what its verb
needs, and decides at the end, without an await between the last look and the entries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from kheish.domain import keys
from kheish.domain.agents import agent as agents, ending
from kheish.domain.events import Draft, Idempotency
from kheish.domain.keys import Key
from kheish.domain.mailboxes import recipients
from kheish.domain.projects import channels, claims, verbs
from kheish.domain.projects.claims import Holder, Started
from kheish.domain.projects.project import PROJECTS
from kheish.domain.projects.task import FINAL, ProjectTask, key_of
from kheish.domain.projects.verbs import Place
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import Fault, Invalid, NotFound, TaskStateConflict
from kheish.state import pins
from kheish.state.state import State


@asynccontextmanager
async def using(state: State, project: str, by: str, *task_ids: str, person: str | None = None) -> AsyncIterator[Place]:
    """Keep a project loaded with its file applied, and recall tasks with those before and above them. Raises
    NotFound."""
    state.definitions.get(PROJECTS, project)
    async with pins.owner(state, PROJECTS, project):
        for task_id in task_ids:
            await _recall(state, project, task_id)
        found = state.definitions.get(PROJECTS, project)
        verbs.set_file(state, project, found.value, found.digest, by=by)
        yield Place(project=project, file=found.value, by=by, person=person)


async def _recall(state: State, project: str, task_id: str) -> None:
    doc = await state.recall(ProjectTask, key_of(project, task_id))
    if doc is not None and doc["status"] in FINAL:  # it may be opened again, and then waits for these
        await verbs.recall(state, project, doc["blocked_by"])
    seen = {task_id}
    while doc is not None and doc["parent"] is not None and doc["parent"] not in seen:
        seen.add(doc["parent"])
        doc = await state.recall(ProjectTask, key_of(project, doc["parent"]))


def named(given: Mapping[str, Any]) -> list[str]:
    """Return the tasks that the fields of a task name."""
    return [*given.get("blocked_by", ()), *([given["parent"]] if given.get("parent") is not None else [])]


async def create(
    state: State,
    project: str,
    task_id: str | None,
    given: Mapping[str, Any],
    *,
    by: str,
    request: Idempotency | None = None,
) -> str:
    """Create a task, once for each key; return its id. Raises as `verbs.create`, and IdempotencyConflict."""
    async with using(state, project, by, *([task_id] if task_id is not None else []), *named(given)) as place:
        key = await keys.known(state, request)
        return keys.earlier(state, key) or verbs.create(state, place, task_id, given, key).task_id


async def change(
    state: State,
    project: str,
    task_id: str,
    given: Mapping[str, Any],
    moved: Callable[[Place], Sequence[Draft]],
    *,
    by: str,
    person: str | None = None,
) -> None:
    """Change the fields of a task, and its status by the drafts of `moved`, in one group."""
    async with using(state, project, by, task_id, *named(given), person=person) as place:
        fields = verbs.update(state, place, task_id, given) if given else []
        verbs.append(state, *fields, *moved(place))


async def claim(
    state: State,
    project: str,
    task_id: str,
    holder: Holder,
    *,
    by: str,
    claim_id: str | None = None,
    request: Idempotency | None = None,
) -> Mapping[str, Any]:
    """Claim a task, once for each key; return its document. The session of a holder with a run is loaded meanwhile.

    Raises as `claims.claim`, IdempotencyConflict, and ClaimLost for a key whose claim has ended.
    """
    async with AsyncExitStack() as used:
        if holder.run_id is not None and holder.session_id is not None:
            await used.enter_async_context(state.using(holder.session_id))
        place = await used.enter_async_context(using(state, project, by, task_id))
        key = await keys.known(state, request)
        if (earlier := keys.earlier(state, key)) is not None:
            claims.held(state, project, task_id, earlier)
        else:
            claims.claim(state, place, task_id, holder, claim_id, key)
        return verbs.document(state, project, task_id)


async def start(
    state: State,
    project: str,
    task_id: str | None,
    *,
    by: str,
    create: Mapping[str, Any] | None = None,
    is_repeated: bool = False,
    key: Key | None = None,
    request: Idempotency | None = None,
    beside: Callable[[Started], Sequence[Draft] | None] = lambda started: (),
) -> str | None:
    """Start a run for a task, or for one that is created with it, once for each key of a `request`; return its id.
    `beside` returns further entries of
    the group, or None if the start is no longer wanted; it is called at the last moment.

    Raises NotFound, TaskClaimed, TaskBlocked, TaskStateConflict, SessionEnded; and as `intake.submit`.
    """
    names = [*([task_id] if task_id is not None else []), *named(create or {})]
    async with AsyncExitStack() as used:
        place = await used.enter_async_context(using(state, project, by, *names))
        if keys.earlier(state, await keys.known(state, request)) is not None:
            return task_id
        if create is not None:
            assignee = create.get("assignee")
        else:
            assignee = verbs.document(state, project, task_id or "")["assignee"]
        session_id = claims.session_of(place, task_id or "new", assignee)
        try:
            await used.enter_async_context(state.using(session_id))
        except NotFound as error:
            raise TaskStateConflict(
                f"The session {session_id!r} of {assignee} does not exist; create it: kheish sessions create "
                f"{session_id}."
            ) from error
        await used.enter_async_context(channels.using(state, place.file))
        place = await used.enter_async_context(using(state, project, by, *names))  # the file may have changed meanwhile
        if request is not None:
            key = await keys.known(state, request)
            if keys.earlier(state, key) is not None:
                return task_id
        new = verbs.created(state, place, task_id, create) if create is not None else None
        task_id = new.task_id if new is not None else task_id or ""
        begun = claims.start(state, place, task_id, new=new, is_repeated=is_repeated, key=key)
        if begun.session_id != session_id:
            raise TaskStateConflict(f"The task {task_id!r} was assigned to another member meanwhile; start it again.")
        more = beside(begun)
        if more is None:
            return None
        verbs.append(state, *more, *begun.drafts)
        return task_id


async def agent(state: State, place: Place, named: str) -> Holder:
    """Return the holder for a member that is an agent: by its member id, its agent id, or its session. Its claim ends
    with its present run, if it has one. Raises NotFound, Invalid."""
    member = place.file.member(named)
    session_id = member.session_id if member is not None else await recipients.resolve(state, named)
    member = place.file.member_of(session_id)
    if member is None or session_id is None:
        fault = Fault("/agent", f"{named!r} is no session and no agent among the members of the project")
        raise Invalid(f"{fault.path}: {fault.message}.", errors=[fault])
    async with state.using(session_id):
        active = state.get(Session, session_id).active
    return Holder(by=member.member, is_member=True, session_id=session_id, run_id=active)


async def owned(state: State, session_id: str) -> list[str]:
    """Return the projects in which the agent of a session owns open tasks, with their number: `p (2 open tasks)`."""
    found = []
    for project in state.definitions.projects_of(session_id):
        doc = await state.recall(state.nouns.by_name["project"].cls, project)
        member = state.definitions.get(PROJECTS, project).value.member_of(session_id)
        count = doc["owners"].get(member.member, 0) if doc is not None and member is not None else 0
        if count:
            found.append(f"{project} ({count} open tasks)")
    return found


def owners_gone(doc: Mapping[str, Any], members: Iterable[str]) -> dict[str, int]:
    """Return the members that own open tasks of a project, by its document, and are not among these."""
    return {name: count for name, count in doc["owners"].items() if name not in {*members}}


async def stop_run(state: State, doc: Mapping[str, Any], *, by: str) -> None:
    """Cancel the run that the daemon had started for a task, by the task's document before it was cancelled."""
    claim = doc["claim"]
    if claim is None or not claim["started"] or claim["run_id"] is None:
        return
    async with state.using(claim["session_id"]):
        run = state.find(Run, claim["run_id"])
        if run is not None and not run.is_final:
            ending.stop_run(state, run.run_id, by=by, reason=f"the task {doc['task_id']} was cancelled")


def sessions_of(state: State, session_id: str) -> tuple[str, ...]:
    """Return the sessions as which an agent takes part in projects: its own, and that of the root of its tree."""
    found = agents.find_in(state, session_id)
    return (session_id,) if found is None or not found.is_child else (session_id, found.root_session)


def projects_of(state: State, session_id: str) -> list[str]:
    """Return the projects that the agent of a loaded session takes part in: as a member, by its session's setting, or
    as a child of such an agent."""
    own = state.get(Session, session_id).settings.get("project")
    listed = [id for one in sessions_of(state, session_id) for id in state.definitions.projects_of(one)]
    known = state.definitions.by_kind[PROJECTS]
    return sorted({one for one in (own, *listed) if one is not None and one in known})
