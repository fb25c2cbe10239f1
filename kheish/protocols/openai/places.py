"""The session of a conversation, and the run that already answers a request.

A chat client sends the whole conversation each time and names no session. So the id of a conversation's session begins
with a digest of its first messages, and each run has a digest of all messages that led to it in its metadata. A request
continues the session whose newest run has the digest of the request before; if an older run has it, the user went back,
and the session is forked there. A repeated request finds the run that it started.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.client import requests
from kheish.errors import NotFound
from kheish.protocols.access import Access
from kheish.protocols.openai import messages
from kheish.protocols.openai.messages import Conversation
from kheish.protocols.openai.names import Name
from kheish.protocols.speech import ENDED

if TYPE_CHECKING:
    from kheish.client.shapes import RunView

#: the key of a run's metadata with what this protocol keeps there
META = "openai"
#: sessions with the same first messages, and runs of a session, that are looked at
_SESSIONS, _RUNS = 10, 30
#: seconds after the end of a run in which the same first message is the same request
_REPEATED = 60.0
_TITLE = 80


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A conversation and its caller. `session`: the session that the request names, if any; `key`: its idempotency key;
    `is_retry`: the client says that it repeats a request."""

    caller: str
    name: Name
    told: Conversation
    session: str | None = None
    key: str | None = None
    is_retry: bool = False

    @cached_property
    def digest(self) -> str:
        """The digest of all messages."""
        return messages.digest(self.told.said)

    @cached_property
    def prefix(self) -> str:
        """The beginning of the ids of sessions that begin with these messages."""
        return f"chat-{messages.digest(self.caller, self.name.persona, self.told.head)[:20]}-"


@dataclass(frozen=True, slots=True)
class Place:
    """The session of a request. `run`: the run that the same request has started before."""

    session: str
    run: RunView | None = None
    is_new: bool = False
    system: str | None = None


async def find(access: Access, wanted: Wanted) -> Place:
    """Return the place of a conversation; its session exists. Raises KheishError."""
    if wanted.session is not None:
        return await _named(access, wanted, wanted.session)
    page: Any = await access.send(requests.list_sessions(id_prefix=wanted.prefix, limit=_SESSIONS))
    for session in sorted(page["items"], key=lambda one: str(one["session_id"]), reverse=True):
        if session["status"] != "ended" and (place := await _within(access, wanted, session["session_id"])):
            return place
    id = wanted.prefix + ids.new("s").removeprefix("s_")
    await create(access, id, wanted.name, wanted.told.turn)
    return Place(id, is_new=True)


async def _named(access: Access, wanted: Wanted, id: str) -> Place:
    try:
        await access.send(requests.get_session(id))
    except NotFound:
        await create(access, id, wanted.name, wanted.told.turn)
        return Place(id, is_new=True)
    for run in await _runs(access, id):
        if _is_repeated(wanted, run):
            return Place(id, run)
        return Place(id, system=_kept(run).get("system"))
    return Place(id)


async def _within(access: Access, wanted: Wanted, session: str) -> Place | None:
    """Return the place in a session, or in a fork of it; None if the conversation is another."""
    before = messages.digest(wanted.told.before)
    for place, run in enumerate(await _runs(access, session)):
        kept = _kept(run)
        if kept.get("history") == wanted.digest:
            if place == 0 and _is_repeated(wanted, run):
                return Place(session, run)
            if place == 0 and run["status"] in ENDED - {"completed"}:
                return Place(session, system=kept.get("system"))
        elif wanted.told.before and kept.get("history") == before and _is_answer(run, wanted.told.answer or ""):
            if place == 0:
                return Place(session, system=kept.get("system"))
            id = wanted.prefix + ids.new("s").removeprefix("s_")
            await access.send(requests.fork_session(session, id, at=f"n:{run['n']}"))
            return Place(id, system=kept.get("system"))
    return None


def _is_repeated(wanted: Wanted, run: RunView) -> bool:
    """Return whether a request repeats the one that started a run."""
    kept = _kept(run)
    if kept.get("history") != wanted.digest or kept.get("model") != str(wanted.name):
        return False
    if wanted.key is not None:
        return bool(kept.get("key") == wanted.key)
    if wanted.is_retry or run["status"] not in ENDED:
        return True
    ended = run["finished_at"]
    return run["status"] == "completed" and ended is not None and time.time() - ids.seconds_of(ended) < _REPEATED


def _is_answer(run: RunView, text: str) -> bool:
    """Return whether a client's message is the answer of a run: its final text, or the text about what it waits for."""
    output = (run["output"] or "").strip()
    return run["run_id"] in text or (bool(output) and text.strip().endswith(output))


async def _runs(access: Access, session: str) -> Sequence[RunView]:
    """Return the newest runs that this protocol started in a session, newest first."""
    page: Any = await access.send(requests.list_runs(session=session, limit=_RUNS))
    return [run for run in page["items"] if _kept(run)]


def _kept(run: RunView) -> Mapping[str, Any]:
    kept = run["request"]["metadata"].get(META)
    return kept if isinstance(kept, Mapping) else {}


async def create(access: Access, id: str, name: Name, text: str) -> None:
    """Create a session, with the first line of its first message as the title. Raises KheishError."""
    title = text.strip().partition("\n")[0][:_TITLE]
    await access.send(requests.create_session(id, persona=name.persona, route=name.route, title=title or None))


async def start(access: Access, wanted: Wanted, place: Place, meta: Mapping[str, Any], **more: Any) -> RunView:
    """Return the run that answers the conversation in its place. Raises KheishError."""
    if place.run is not None:
        return place.run
    told = wanted.told
    system = messages.digest(told.instructions)
    items = messages.task(told, begins=place.is_new, instructed=place.system == system)
    kept = {"history": wanted.digest, "system": system, "key": wanted.key, "model": str(wanted.name)}
    return await access.send(
        requests.start_run(
            place.session,
            items=items,
            source=META,
            route=wanted.name.route,
            idempotency_key=wanted.key,
            metadata={**meta, META: kept},
            **more,
        )
    )
