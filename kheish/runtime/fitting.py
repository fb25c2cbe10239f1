"""Fitting: a prompt cut to the room in a model's window, with a note of each omission.

The order of omissions: tool definitions become short, then fewer; long sections of the instructions are cut; the oldest
tool results become previews; finally the longest messages are cut in the middle, evenly, and the oldest are omitted.
The task of the run and the newest message have a share of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from kheish.runtime import windows
from kheish.runtime.drivers.base import Call, Message, ToolSpec
from kheish.runtime.tools.base import Tool
from kheish.runtime.windows import message_tokens, tokens
from kheish.store.escaping import plain

TOOLS_SHARE = 1 / 3  # share of the prompt for definitions of tools
SYSTEM_SHARE = 0.45  # share of the prompt for the instructions
RESULTS_SHARE = 0.5  # share of the conversation: tool results beyond it make the oldest become previews
OWN_SHARE = 0.35  # share of the conversation for the task and for the newest message, each
PREVIEW = 300  # characters
CALL_TOKENS = 24  # minimal tokens of a call with its result
LEAST = 48  # tokens: shorter texts are never cut
LEAVES = (4000, 1000, 300, 100, 40)  # characters of a text within arguments
#: tools by priority; unnamed tools are dropped first
PRIORITY = (
    "exit_plan_mode", "emit_output", "bash", "read_file", "write_file", "edit_file", "list_files", "grep_search",
    "ask_user_question", "attach_evidence", "glob_search", "apply_patch", "task_output", "shell_task_start",
)  # fmt: skip
_EXPLAINING = frozenset({"description", "title"})
_ANNOTATIONS = frozenset({*_EXPLAINING, "default", "examples", "maxLength", "minLength"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The tools that a prompt offers, and the omissions for lack of room."""

    specs: tuple[ToolSpec, ...] = ()
    left_out: tuple[str, ...] = ()
    is_short: bool = False
    tokens: int = 0

    def words(self) -> list[str]:
        """Return the omissions as text."""
        notes = ["The descriptions of the tools are shortened."] if self.is_short and self.specs else []
        if self.left_out:
            notes.append(f"These tools are left out: {', '.join(self.left_out)}.")
        return notes


def toolbox(tools: Mapping[str, Tool], room: int | None) -> Toolbox:
    """Return the definitions of the tools that fit into a prompt: whole ones, short ones, or the most important."""
    names = sorted(tools)
    whole = [full_spec(tools[name]) for name in names]
    size = sum([one.tokens for one in whole])
    if room is None or size <= room * TOOLS_SHARE:
        return Toolbox(specs=tuple([one.spec for one in whole]), tokens=size)
    limit = room * TOOLS_SHARE
    short = {name: _short_spec(tools[name]) for name in names}
    chosen: set[str] = set()
    size = 0
    for name in sorted(names, key=_rank):
        if size + short[name].tokens <= limit:
            chosen.add(name)
            size += short[name].tokens
    return Toolbox(
        specs=tuple(short[name].spec for name in names if name in chosen),
        left_out=tuple(name for name in names if name not in chosen),
        is_short=True,
        tokens=size,
    )


def _rank(name: str) -> tuple[int, str]:
    return (PRIORITY.index(name) if name in PRIORITY else len(PRIORITY), name)


@dataclass(frozen=True, slots=True)
class Measured:
    """A definition with its size."""

    spec: ToolSpec
    tokens: int


@lru_cache(maxsize=512)
def full_spec(tool: Tool) -> Measured:
    """Return the tool as the model sees it."""
    spec = ToolSpec(name=tool.name, description=plain(tool.description), parameters=_plain_schema(tool.schema))
    return Measured(spec, windows.spec_tokens(spec))


@lru_cache(maxsize=512)
def _short_spec(tool: Tool) -> Measured:
    first = plain(tool.description).partition(". ")[0].rstrip(".") + "."
    spec = ToolSpec(name=tool.name, description=first, parameters=_short_schema(tool.schema))
    return Measured(spec, windows.spec_tokens(spec))


def _plain_schema(schema: Any) -> Any:
    """Return a schema with its explanatory texts cleaned, as a server may have written it; values stay exact."""
    match schema:
        case Mapping():
            return {
                key: plain(value) if key in _EXPLAINING and isinstance(value, str) else _plain_schema(value)
                for key, value in schema.items()
            }
        case list():
            return [_plain_schema(part) for part in schema]
    return schema


def _short_schema(schema: Any) -> Any:
    """Return a schema without its explanatory fields."""
    match schema:
        case {"anyOf": [one, {"type": "null"}]}:
            return _short_schema(one)
        case dict():
            return {
                key: {name: _short_schema(part) for name, part in value.items()}
                if key in ("properties", "$defs")
                else _short_schema(value)
                for key, value in schema.items()
                if key not in _ANNOTATIONS
            }
        case list():
            return [_short_schema(part) for part in schema]
    return schema


def level(sizes: Iterable[int], room: float) -> int:
    """Return the size to which the largest have to be cut, so that all have room; 0 if there is no room."""
    ordered = sorted(sizes)
    remaining = max(0.0, room)
    for at, size in enumerate(ordered):
        share = remaining / (len(ordered) - at)
        if size > share:
            return int(share)
        remaining -= size
    return ordered[-1] if ordered else 0


def cut_text(text: str, limit: int, *, how: str = "") -> str:
    """Return the beginning and the end of a text, in about `limit` tokens, with a note of the omission between."""
    size = tokens(text)
    if size <= limit:
        return text
    keep = int(len(text) * limit / size)
    for _ in range(4):
        missing = len(text) - keep
        note = f"\n[… {missing} characters are left out here: the model's window is too small.{how}]\n"
        head = keep * 2 // 3
        shortened = f"{text[:head]}{note}{text[len(text) - (keep - head) :] if keep > head else ''}"
        size = tokens(shortened)
        if size <= limit or keep == 0:
            return shortened
        keep = max(0, int(keep * 0.9) - max(0, size - limit) * 2)
    return shortened


def previews(messages: Sequence[Message], limit: int) -> tuple[list[Message], int]:
    """Return the messages with the oldest tool results as previews, and how many.

    All results then fit into `limit` tokens.
    """
    shortened = list(messages)
    room, count = limit, 0
    for at in range(len(shortened) - 1, -1, -1):
        message = shortened[at]
        if message.role != "tool":
            continue
        size = tokens(message.text)
        if size > room and len(message.text) > PREVIEW + 100:
            more = len(message.text) - PREVIEW
            text = f"{message.text[:PREVIEW]}\n[… {more} more characters; run the call again to see]"
            shortened[at] = replace(message, text=text)
            size, count = tokens(text), count + 1
        room = max(0, room - size)
    return shortened, count


def fit(messages: Sequence[Message], room: int, task: int | None = None) -> tuple[list[Message], list[str]]:
    """Return the messages in at most about `room` tokens, and the omissions as text.

    `task` is the index of the message with the current task.
    """
    sizes = [message_tokens(message) for message in messages]
    if sum(sizes) <= room or not messages:
        return list(messages), []
    kept = _recent(messages, sizes, room, task)
    own = {kept.index(at) for at in {task, len(messages) - 1} if at is not None and at in kept}
    dropped = len(messages) - len(kept)
    limits = _limits([sizes[at] for at in kept], own, room - (3 * windows.PER_MESSAGE if dropped else 0))
    fitted: list[Message] = []
    shortened = 0
    for number, at in enumerate(kept):
        message = messages[at]
        if sizes[at] > limits[number]:
            message, shortened = cut(message, limits[number]), shortened + 1
        fitted.append(message)
    words = []
    if shortened:
        words.append(f"{shortened} long messages are cut in the middle." if shortened > 1 else "A long message is cut.")
    if dropped:
        words.append(f"The {dropped} oldest messages are left out.")
        note = f"[{dropped} earlier messages are left out here: the model's window is too small.]"
        fitted.insert(0, Message(role="user", text=note))
    return _without_lost_calls(fitted), words


def _recent(messages: Sequence[Message], sizes: Sequence[int], room: int, task: int | None) -> list[int]:
    """Return the indices of the messages that can have some room each: all, or the newest, with the task."""
    most = max(2, room // (2 * LEAST))
    first = max(0, len(messages) - most)
    while 0 < first < len(messages) - 1 and messages[first].role == "tool":
        first += 1  # a result without its call would become text
    kept = list(range(first, len(messages)))
    return [task, *kept] if task is not None and task < first else kept


def _limits(sizes: Sequence[int], own: set[int], room: int) -> list[int]:
    """Return the limit of each message: a share of its own for some, and an even part of the rest for the others."""
    others = [size for at, size in enumerate(sizes) if at not in own]
    share = int(room * OWN_SHARE)
    of_own = sum(min(sizes[at], share) for at in own)
    most = level(others, room - of_own)
    if sum(min(size, most) for size in others) >= sum(others):  # the others are complete
        share = level([sizes[at] for at in own], room - sum(others))
    return [share if at in own else most for at in range(len(sizes))]


def cut(message: Message, limit: int) -> Message:
    """Return the message in about `limit` tokens: its text cut in the middle, its arguments shortened."""
    calls, opaque = message.calls, message.opaque
    if opaque is not None and tokens(windows.encoded(opaque)) > limit // 2:
        opaque = None
    lost = 0
    if calls:
        most = max(1, limit // CALL_TOKENS)
        calls, lost = calls[:most], max(0, len(calls) - most)
        room = max(CALL_TOKENS, int(limit * 0.7) // len(calls))
        calls = tuple(_cut_call(call, room) for call in calls)
    bare = replace(message, text="", calls=calls, opaque=opaque)
    how = _HOW.get(message.role, "")
    text = cut_text(message.text, max(LEAST // 2, limit - message_tokens(bare)), how=how)
    if lost:
        text = f"{text}\n[{lost} more calls of this answer are left out.]".strip()
    return replace(bare, text=text)


_HOW = {
    "user": " All of it is in the session's journal; ask for the part that is needed.",
    "tool": " Run the call again for less at once.",
    "assistant": "",
}


def _cut_call(call: Call, limit: int) -> Call:
    if tokens(windows.encoded(call.arguments)) <= limit:
        return call
    for longest in LEAVES:
        arguments = {key: _cut_leaves(value, longest) for key, value in call.arguments.items()}
        if tokens(windows.encoded(arguments)) <= limit:
            return replace(call, arguments=arguments)
    size = len(windows.encoded(call.arguments))
    return replace(call, arguments={"left_out": f"{size} characters of arguments"}, malformed=None)


def _cut_leaves(value: Any, longest: int) -> Any:
    match value:
        case str() if len(value) > longest:
            return f"{value[:longest]}[… {len(value) - longest} more characters]"
        case dict():
            return {key: _cut_leaves(item, longest) for key, item in value.items()}
        case list():
            return [_cut_leaves(item, longest) for item in value]
    return value


def _without_lost_calls(messages: Sequence[Message]) -> list[Message]:
    """Return the messages without results of calls that were omitted from their answer."""
    remaining: list[Message] = []
    open_calls: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.call_id in open_calls:
                remaining.append(message)
            continue
        open_calls = {call.id for call in message.calls}
        remaining.append(message)
    return remaining
