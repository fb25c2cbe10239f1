"""Drafting: the request of the next model call, in a form that its server accepts and that fits its window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kheish.domain import routes, runs
from kheish.domain.events import Item, MemoryLoaded, PromptPart, changed
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.turns import Turn
from kheish.runtime import accepted, compaction, dialects, fitting, prompt, retrying, windows
from kheish.runtime.agent import Agent
from kheish.runtime.assets import attaching
from kheish.runtime.drivers.base import Message, Request
from kheish.runtime.hooks import points
from kheish.runtime.mcp import budget, section as mcp
from kheish.runtime.prompt import Frame, Placed, Section
from kheish.runtime.targets import Target
from kheish.runtime.tools.base import Tool
from kheish.state.state import State

LEAST_TASK = 96  # tokens: with less room for the conversation a request makes no sense
COMPACTIONS = 60  # in one turn: each stands for a part, so that a long conversation takes several
_TOOL_FIELDS = frozenset({"tools", "functions", "tool_choice"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request, and its origin. `fitted` are its messages before they were made acceptable."""

    request: Request
    fitted: tuple[Message, ...]
    tokens: int
    omitted: tuple[str, ...]
    memory: tuple[MemoryLoaded, ...] = ()
    sections: tuple[Section, ...] = ()  # of the system message
    parts: tuple[PromptPart, ...] = ()  # with their sizes
    window: int | None = None

    def messages(self, target: Target, strictness: int) -> tuple[Message, ...]:
        """Return the messages as a server of this strictness accepts them."""
        route = target.route
        rules = dialects.of(route.driver, target.model, route.api_base, strictness)
        return accepted.accept(self.fitted, has_tools=bool(self.request.tools), rules=rules)


async def draft(
    state: State,
    run: Run,
    turn: Turn,
    agent: Agent,
    target: Target,
    tools: Mapping[str, Tool],
    mail: Sequence[Sequence[Item]] = (),
) -> Draft | None:
    """Return the next request, with `mail` at its end.

    None: the conversation was compacted first, or the run has ended because even the smallest prompt does not fit.
    Raises ModelError if a summary could not be had.
    """
    room = target.room
    refuses_tools = bool(target.facts.omit & _TOOL_FIELDS)
    memory = await agent.memory.of_run(run) if agent.memory is not None else None
    offer = budget.within({} if refuses_tools else tools, room.window, turn.revealed)
    servers = mcp.section(agent.mcp.servers, run, offer.deferred) if agent.mcp is not None else ""
    skills = agent.driven(run).offer
    catalog = skills.section if skills is not None else ""
    frame = await prompt.frame(state, run, offer.tools, room.prompt, memory, catalog, servers)
    if room.prompt is not None and room.prompt - frame.tokens < LEAST_TASK:
        frame = await prompt.frame(state, run, {}, room.prompt, memory)
    observed = agent.observations.shower.attach if agent.observations is not None else None
    attach = attaching.reader(agent.assets, observed, vision=target.route.capabilities.vision)
    placed = await prompt.conversation(state, run, target.server, agent.driven(run).rendered, mail, attach)
    if await _compact_on_request(state, run, turn, agent, target, frame, placed):
        return None
    if state.get(Run, run.run_id).is_final:  # by a hook
        return None
    if room.prompt is None:
        return _draft(run, turn, target, frame, [one.message for one in placed], frame.left_out)
    rest = room.prompt - frame.tokens
    if rest < LEAST_TASK:
        runs.fail(state, run.run_id, "context_length", _too_small(target, frame))
        return None
    placed, words = _with_previews(placed, rest)
    messages = [one.message for one in placed]
    if windows.messages_tokens(messages) > rest:
        journaled = [one for one in placed if one.source.seq != prompt.UNSENT]
        covered = compaction.part(journaled, run.run_id, rest=rest, prompt_room=room.prompt)
        if covered and turn.compactions < COMPACTIONS and await points.may_compact(state, run, turn, agent.hooks):
            await compaction.compact(state, run, turn, agent, target, covered)
            await points.compacted(state, run, turn, agent.hooks)
            return None
        if state.get(Run, run.run_id).is_final:  # by a hook
            return None
        messages, more = fitting.fit(messages, rest, prompt.task_of(placed, run.run_id))
        words += more
    return _draft(run, turn, target, frame, messages, (*frame.left_out, *words))


async def _compact_on_request(
    state: State, run: Run, turn: Turn, agent: Agent, target: Target, frame: Frame, placed: Sequence[Placed]
) -> bool:
    """Compact the conversation if a user requested it, before the first answer of a run. Return whether it was.

    The newest part remains unchanged, as for a window that the conversation fills. Raises ModelError if a summary could
    not be had.
    """
    if turn.answers or turn.compactions or not state.get(Session, run.session_id).compaction_requested:
        return False
    journaled = [one for one in placed if one.source.seq != prompt.UNSENT]
    size = windows.messages_tokens([one.message for one in journaled])
    whole = 2 * (frame.tokens + size)
    room = whole if target.room.prompt is None else target.room.prompt
    covered = compaction.part(journaled, run.run_id, rest=min(size, room - frame.tokens), prompt_room=room)
    if not covered or not await points.may_compact(state, run, turn, agent.hooks):
        return False
    await compaction.compact(state, run, turn, agent, replace(target, room=replace(target.room, prompt=room)), covered)
    await points.compacted(state, run, turn, agent.hooks)
    return True


def _with_previews(placed: Sequence[Placed], rest: int) -> tuple[list[Placed], list[str]]:
    messages, count = fitting.previews([one.message for one in placed], int(rest * fitting.RESULTS_SHARE))
    if not count:
        return list(placed), []
    shortened = [Placed(message, one.source) for message, one in zip(messages, placed, strict=True)]
    return shortened, [f"Of {count} older tool results only the beginning is shown."]


def _draft(
    run: Run, turn: Turn, target: Target, frame: Frame, messages: Sequence[Message], omitted: Sequence[str]
) -> Draft:
    generation, words = _generation(target)
    made = Draft(
        request=Request(
            route_id=target.route_id,
            model=target.model,
            messages=(),
            tools=frame.specs,
            generation=generation,
            answers=turn.answers,
            settings=routes.driver_settings(target.route),
            stream=target.streams(turn),
            omit=target.facts.omit,
        ),
        fitted=(frame.system, *messages, *retrying.note(turn)),
        tokens=frame.tokens + windows.messages_tokens(messages),
        omitted=(*omitted, *words),
        memory=frame.memory,
        sections=frame.sections,
        parts=tuple(_parts(frame, messages)),
        window=target.room.window,
    )
    request = changed(made.request, messages=made.messages(target, target.facts.strictness))
    return changed(made, request=request)


def _parts(frame: Frame, messages: Sequence[Message]) -> Iterator[PromptPart]:
    """Yield the parts of a prompt with their sizes: sections, definitions of tools, messages, results of tools."""
    for section in frame.sections:
        yield PromptPart(name=section.name, tokens=windows.tokens(section.text))
    if frame.specs:
        yield PromptPart(name="Definitions of tools", tokens=frame.tokens - windows.message_tokens(frame.system))
    results = windows.messages_tokens(one for one in messages if one.role == "tool")
    yield PromptPart(name="Messages", tokens=windows.messages_tokens(messages) - results)
    if results:
        yield PromptPart(name="Results of tools", tokens=results)


def _generation(target: Target) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the answer: its length is bounded if prompt and answer would not fit together."""
    limit = windows.answer_limit(target.generation)
    if limit is None or target.room.window is None or limit[1] <= target.room.reserve:
        return target.generation, []
    name, reserve = limit[0], target.room.reserve
    return {**target.generation, name: reserve}, [f"The answer may have {reserve} tokens instead of {limit[1]}."]


def _too_small(target: Target, frame: Frame) -> str:
    room = target.room
    known = f"a window of {room.window} tokens" if room.window else "a window that is smaller than any prompt so far"
    needed = int((frame.tokens + LEAST_TASK) * target.facts.ratio) + room.reserve
    return (
        f"Route {target.route_id}: the model {target.model} has {known}. The smallest prompt, without tools and with "
        f"the task cut, needs about {needed} tokens, {room.reserve} of them for the answer. Use a model with a larger "
        "window, start its server with a larger one, or lower max_tokens of the route."
    )
