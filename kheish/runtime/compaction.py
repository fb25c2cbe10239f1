"""Compaction, for a conversation that outgrows the model's window. The journal is never rewritten; the prompt is.

A summary stands for the oldest part that fits into a prompt of its own, so that a conversation of any length is
summarised in parts: the next step takes the rest. Only a text counts as a summary. If no summary can be had, the daemon
shortens the part itself, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kheish.domain import events, routes
from kheish.domain.events import Usage
from kheish.domain.runs import Run
from kheish.domain.turns import Turn
from kheish.runtime import accepted, dialects, fitting, model, windows
from kheish.runtime.agent import Agent
from kheish.runtime.debug.files import name_of
from kheish.runtime.drivers import digests
from kheish.runtime.drivers.base import Message, ModelError, Reply, Request
from kheish.runtime.prompt import Placed
from kheish.runtime.skills import kept
from kheish.runtime.targets import Target
from kheish.state.state import State

KEPT_SHARE = 0.3  # share of the conversation's room: the end that remains unchanged
SUMMARY_SHARE = 0.2  # share of the conversation's room: the length of a summary
SUMMARY_TOKENS = (64, 4000)  # its bounds
PART_SHARE = 0.85  # share of a prompt: the part that is summarised at once
ATTEMPTS = 2  # attempts at a summary, before the daemon shortens by itself
LEAST_GAIN = 64  # tokens
LINE_CHARACTERS = (60, 240)  # characters of each message when the daemon shortens: fewer if there are many
#: failures of a summary after which the daemon tries another way; others are the server's, and end as those of any call
OF_SUMMARY = frozenset({"empty", "truncated", "declined", "context_length", "bad_request", "oversized"})
#: settings of a route that concern its answers, and do not apply to a summary
_OF_ANSWERS = frozenset({
    "max_tokens", "max_completion_tokens", "response_format", "stop", "n", "tool_choice", "parallel_tool_calls",
    "logprobs", "top_logprobs", "logit_bias",
})  # fmt: skip
ASK = """\
Summarise the conversation so far for yourself, so that you can continue with nothing but this summary: what was asked,
what was decided, what was done (files, commands, results that matter), what failed, and what is left. Be exact with
names, paths and numbers. Answer with the summary only, in at most {words} words."""


def part(placed: Sequence[Placed], run_id: str, *, rest: int, prompt_room: int) -> list[Placed]:
    """Return the messages that the next summary should replace; none if nothing would be gained.

    `rest` is the room of the conversation, `prompt_room` that of a whole prompt. The end remains unchanged, as far as
    it has room; an answer stays with its results; the task of the run stays beside any summary, and so do skills.
    """
    rest -= sum(windows.message_tokens(one.message) for one in placed if one.source.role == "skill")
    placed = [one for one in placed if one.source.role != "skill"]
    ordered = sorted(placed, key=lambda one: (one.source.role != "summary", one.source.seq))
    sizes = [windows.message_tokens(one.message) for one in ordered]
    end = _kept_from(ordered, sizes, rest)
    count, size = 0, 0
    room = int((prompt_room - windows.tokens(ASK)) * PART_SHARE)
    for at in range(end):
        starts_group = ordered[at].message.role != "tool" and ordered[at].source.role != "ended"
        if starts_group and size + sizes[at] > room and _gain(ordered[:count], sizes, run_id):
            break
        size += sizes[at]
        count = at + 1
    while 0 < count < len(ordered) and ordered[count].message.role == "tool":
        count += 1
    covered = ordered[:count]
    return covered if _gain(covered, sizes, run_id) > LEAST_GAIN else []


def _kept_from(ordered: Sequence[Placed], sizes: Sequence[int], rest: int) -> int:
    """Return the start of the end that remains unchanged: at least the newest answer with its results."""
    room = rest * KEPT_SHARE
    at, size, most = len(ordered), 0, rest * 0.15
    while at > 0 and size + min(sizes[at - 1], most) <= room:
        at -= 1
        size += int(min(sizes[at], most))
    at = min(at, len(ordered) - 1)
    newest = len(ordered) - 1
    while newest > 0 and ordered[newest].message.role == "tool":
        newest -= 1
    if at > newest:
        return newest
    while at < newest and ordered[at].message.role == "tool":
        at += 1
    return at


def _gain(covered: Sequence[Placed], sizes: Sequence[int], run_id: str) -> int:
    """Return the tokens that a summary would save: an earlier summary alone and what stays beside it do not count."""
    return sum(
        size
        for one, size in zip(covered, sizes, strict=False)
        if one.source.role != "summary" and not (one.source.role == "user" and one.source.run_id == run_id)
    )


async def compact(state: State, run: Run, turn: Turn, agent: Agent, target: Target, covered: Sequence[Placed]) -> None:
    """Append a summary of a part of the conversation. Raises ModelError if the summary could not be had."""
    room = target.room.prompt
    assert room is not None
    covers = max(one.source.seq for one in covered if one.source.role != "summary")
    length = _summary_tokens(room)
    skills = await kept.skills(state, run.session_id, covers, room)
    if turn.failed_compactions >= ATTEMPTS:
        made = events.ContextCompacted(
            summary=shortened(covered, length), covers=covers, made_by="daemon", skills=skills
        )
        state.append(made.on(run.session_id, run.run_id))
        return
    request = _request(turn, target, covered, room)
    requested = events.ModelRequested(
        turn=turn.turn,
        attempt=turn.failed_compactions + 1,
        route=target.route_id,
        model=request.model,
        digest=digests.digest(request),
        purpose="compaction",
    )
    state.append(requested.on(run.session_id, run.run_id))
    await state.durable()
    try:
        name = name_of("turn", turn.turn + 1, "compaction", requested.attempt)
        reply = await model.call(agent, run, target.route, request, lambda text: None, name=name)
    except ModelError as error:
        if error.kind == "context_length":
            target.facts.refuse(windows.messages_tokens(request.messages), error.window, error.prompt_tokens)
        raise
    summary = fitting.cut_text(summary_of(reply), length)
    usage = Usage(
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        cost_usd=routes.cost_usd(target.route, reply.usage),
        estimated=reply.usage.estimated,
    )
    compacted = events.ContextCompacted(summary=summary, covers=covers, usage=usage, skills=skills)
    state.append(compacted.on(run.session_id, run.run_id))


def _summary_tokens(prompt_room: int) -> int:
    least, most = SUMMARY_TOKENS
    return min(max(int(prompt_room * SUMMARY_SHARE), least), most)


def summary_of(reply: Reply) -> str:
    """Return the text of a summary. Raises ModelError for anything else: an empty text must not replace history."""
    if reply.finish_reason == "length":
        raise ModelError("truncated", "the summary was cut off")
    if reply.calls:
        raise ModelError("empty", "the model called a tool instead of summarising")
    text = reply.text.rpartition("</think>")[2].strip()
    if not text or text.startswith("<think>"):
        raise ModelError("empty", "the model wrote no summary")
    return text


def _request(turn: Turn, target: Target, covered: Sequence[Placed], room: int) -> Request:
    # After a failed attempt a shorter part is summarised, in fewer words.
    attempt = turn.failed_compactions + 1
    words = int(_summary_tokens(room) * 0.6) // attempt
    # As text: an answer with calls would request tools, which a summary does not get.
    texts = accepted.as_text([one.message for one in covered])
    fitted, _ = fitting.fit(texts, int((room - windows.tokens(ASK)) * PART_SHARE / attempt))
    asked = [*fitted, Message(role="user", text=ASK.format(words=words))]
    route = target.route
    rules = dialects.of(route.driver, target.model, route.api_base, target.facts.strictness)
    return Request(
        route_id=target.route_id,
        model=target.model,
        messages=accepted.accept(asked, has_tools=False, rules=rules),
        generation={key: value for key, value in target.generation.items() if key not in _OF_ANSWERS},
        answers=turn.answers,
        settings=routes.driver_settings(route),
        stream=target.streams(turn),
        omit=target.facts.omit,
    )


def shortened(covered: Sequence[Placed], limit: int) -> str:
    """Return a conversation as the beginnings of its messages: one line each, the oldest omitted."""
    lines: list[str] = []
    earlier = ""
    fewest, most = LINE_CHARACTERS
    length = min(max(limit * 3 // (len(covered) or 1), fewest), most)
    for one in covered:
        if one.source.role == "summary":
            earlier = fitting.cut_text(str(one.message.text), limit // 3)
        else:
            lines += _lines(one.message, length)
    kept: list[str] = []
    room = limit - windows.tokens(earlier) - 16
    for line in reversed(lines):
        room -= windows.tokens(line) + 1
        if room < 0:
            break
        kept.insert(0, line)
    dropped = len(lines) - len(kept)
    note = [f"[{dropped} older lines are left out.]"] if dropped else []
    return "\n".join(filter(None, [earlier, *note, *kept])) or "[Nothing of it had room.]"


_WHO: Mapping[str, str] = {"user": "User", "assistant": "Assistant", "tool": "Result"}


def _lines(message: Message, length: int) -> list[str]:
    lines = [f"{_WHO.get(message.role, message.role)}: {_line(message.text, length)}"] if message.text.strip() else []
    return lines + [f"Call: {call.name} {_line(windows.encoded(call.arguments), length)}" for call in message.calls]


def _line(text: str, length: int) -> str:
    text = " ".join(text[: 2 * length].split())
    return text if len(text) <= length else f"{text[:length]}…"
