"""`memory_search`: full text over the session's whole history, and over the memory files that the run sees."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from pydantic import Field

from kheish.domain import history
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.runtime.memory import finding, scopes
from kheish.runtime.memory.finding import Hit
from kheish.runtime.tools.base import Arguments, Context, Effect, Replay, Result, Tool, ToolError
from kheish.store.log import texts
from kheish.store.log.index import Reader

_WIDTH = 600
#: the author of a message
_ROLES = {
    "run.submitted": "asked",
    "model.responded": "you",
    "tool.finished": "result of",
    "context.compacted": "summary",
}


class MemorySearch(Arguments):
    query: str = Field(
        min_length=1,
        max_length=500,
        description='Words that must all be there; "a phrase" in quotes; deplo* for beginnings.',
    )
    limit: int = Field(10, ge=1, le=50, description="How many at most, newest first.")


async def _search(arguments: MemorySearch, context: Context) -> Result:
    state = context.state
    await state.caught_up()
    places = await asyncio.to_thread(history.lineage, state, state.get(Session, context.session_id))
    try:
        files = [_render_file(one, context) for one in await _in_memory(arguments, context)]
        matches = await asyncio.to_thread(_find, state.index, arguments, places, context.call_id)
    except ValueError as error:
        raise ToolError(f"{arguments.query!r} is not a valid query: {error}.") from error
    if not matches and not files:
        return Result(content="No matches in this session's history, and none in memory.", detail={"hits": 0})
    return Result(content="\n\n".join([*files, *matches]), detail={"hits": len(matches), "files": len(files)})


async def _plan(arguments: MemorySearch, context: Context) -> dict[str, Any]:
    """Return the note of the call: an agent's content from a tainted run taints this run, too."""
    try:
        hits = await _in_memory(arguments, context)
    except ValueError:  # the call reports it
        return {}
    return {"tainted": True} if any(hit.note.is_tainted for hit in hits) else {}


async def _in_memory(arguments: MemorySearch, context: Context) -> list[Hit]:
    """Return the matching memory files that the run sees. Raises ValueError for an invalid query."""
    if context.memory is None:
        return []
    keeper = context.memory.keeper
    places = scopes.of_run(context.state, context.state.get(Run, context.run_id))
    notes = [note for place in places.values() for note in keeper.catalog.of(place).values()]
    return await asyncio.to_thread(finding.search, context.state.root, notes, arguments.query, arguments.limit)


def _render_file(hit: Hit, context: Context) -> str:
    places = scopes.of_run(context.state, context.state.get(Run, context.run_id))
    author = "a user" if hit.note.is_users else "an agent"
    return f"[{scopes.shown(places, hit.note.place, hit.note.name)}, written by {author}]\n{hit.snippet}"


def _find(index: Reader, arguments: MemorySearch, places: list[history.Place], call_id: str) -> list[str]:
    terms = texts.terms(arguments.query)
    rows = index.search(arguments.query, limit=arguments.limit + 1, places=places)
    lines = [(line, text) for _, _, _, line, text in rows if not _asks(line, call_id)]
    return [_render_match(line, texts.snippet(text, terms, _WIDTH)) for line, text in lines[: arguments.limit]]


def _asks(line: str, call_id: str) -> bool:
    """Return whether a line is the answer with this very call, which contains the query."""
    entry = orjson.loads(line)
    calls = entry["data"].get("calls") if entry["kind"] == "model.responded" else None
    return isinstance(calls, list) and any(call["id"] == call_id for call in calls)


def _render_match(line: str, snippet: str) -> str:
    entry = orjson.loads(line)
    kind = entry["kind"]
    role = _ROLES.get(kind, kind)
    tool = f" {entry['data']['tool']}" if kind == "tool.finished" else ""
    return f"[{entry['at'][:19]} {role}{tool}]\n{snippet}"


TOOLS = (
    Tool(
        name="memory_search",
        description=(
            "Search everything that was said in this session so far, also what is no longer in front of you: tasks, "
            "your answers, results of tools, summaries; and the files of /memories. Newest first."
        ),
        arguments=MemorySearch,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_search,
        plan=_plan,
    ),
)
