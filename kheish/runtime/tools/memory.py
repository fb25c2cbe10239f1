"""The agent's memory: `memory_search`, full text over the session's whole history."""

from __future__ import annotations

import asyncio

import orjson
from pydantic import Field

from kheish.domain import history
from kheish.domain.sessions.session import Session
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
        matches = await asyncio.to_thread(_find, state.index, arguments, places, context.call_id)
    except ValueError as error:
        raise ToolError(f"{arguments.query!r} is not a valid query: {error}.") from error
    if not matches:
        return Result(content="No matches in this session's history.", detail={"hits": 0})
    return Result(content="\n\n".join(matches), detail={"hits": len(matches)})


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
            "your answers, results of tools, summaries. Newest first."
        ),
        arguments=MemorySearch,
        effect=Effect.READ,
        replay=Replay.SAFE,
        run=_search,
    ),
)
