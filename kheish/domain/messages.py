"""The conversation of a session: the source of prompts. Kept in memory only; the journal is complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from kheish.domain import events
from kheish.domain.completion import is_check
from kheish.domain.events import Entry, Item, ModelCall, SkillUse, Text, changed, frozen


@frozen
class Message:
    """A message. `seq` is its position; `source` is the entry from which a reader rebuilds it.

    `ended` marks a run that did not complete; its text is the way it ended: failed, cancelled, interrupted. For a
    summary, `is_error` means that no model could write it. `skill` is the skill whose text it is.
    """

    role: Literal["user", "assistant", "tool", "note", "mail", "summary", "ended", "skill"]
    seq: int
    source: int
    run_id: str | None
    text: Text = ""
    items: tuple[Item, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    call_id: str | None = None
    is_error: bool = False
    opaque: Any = None
    skill: SkillUse | None = None


class Conversation:
    """The messages of a session since its last compaction, in the order of the journal. Changed by `fold` only."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.inputs: dict[str, tuple[int, tuple[Item, ...]]] = {}  # for runs that have not started

    def needs_from(self, seq: int) -> int:
        """Return the first entry that a reader needs to rebuild this conversation; `seq` if it is empty."""
        sources = [message.source for message in self.messages] + [source for source, _ in self.inputs.values()]
        return min(sources, default=seq)


FOLDED = (
    events.RunSubmitted,
    events.RunStarted,
    events.RunCancelled,
    events.RunFailed,
    events.RunInterrupted,
    events.ModelResponded,
    events.ToolFinished,
    events.Nudged,
    events.MessageDelivered,
    events.SkillLoaded,
    events.HooksRan,
    events.ContextCompacted,
)


def fold(table: dict[str, Conversation], entry: Entry) -> Iterable[str]:
    """Fold an entry. The conversation appears in no list, so no change is reported."""
    assert entry.session is not None
    conversation = table.get(entry.session)
    if conversation is None:
        conversation = table[entry.session] = Conversation()
    _fold(conversation, entry)
    return ()


def _fold(conversation: Conversation, entry: Entry) -> None:
    run, event = entry.run or "", entry.event
    add = conversation.messages.append
    seq = entry.seq
    at: dict[str, Any] = {"seq": seq, "source": seq, "run_id": entry.run}
    match event:
        case events.RunSubmitted(request=request):
            conversation.inputs[run] = (entry.seq, request.items)
        case events.RunStarted():
            source, items = conversation.inputs.pop(run, (entry.seq, ()))
            add(Message(role="user", items=items, **{**at, "source": source}))
        case events.RunCancelled() | events.RunFailed() | events.RunInterrupted():
            conversation.inputs.pop(run, None)
            last = next((message for message in reversed(conversation.messages) if message.run_id == run), None)
            if last is not None:
                # A reader that began after the run's messages would omit its end, so the end needs the last of them.
                add(Message(role="ended", text=event.kind.partition(".")[2], **{**at, "source": last.source}))
        case events.ModelResponded(text=text, calls=calls, opaque=opaque):
            add(Message(role="assistant", text=text, calls=calls, opaque=opaque, **at))
        case events.ToolFinished(call_id=call_id, content=content, is_error=is_error) if not is_check(call_id):
            add(Message(role="tool", text=content, call_id=call_id, is_error=is_error, **at))
        case events.Nudged(text=text):
            add(Message(role="note", text=text, **at))
        case events.MessageDelivered(items=items) if items:  # those of a run's start are its task
            add(Message(role="mail", items=items, **at))
        case events.SkillLoaded(use=use, text=text) if text is not None:
            add(Message(role="skill", text=text, skill=use, **at))
        case events.HooksRan():
            _fold_hooks(conversation, event, run, at)
        case events.ContextCompacted(summary=summary, covers=covers, made_by=made_by, skills=skills):
            # An earlier summary precedes the messages that it kept, and the new summary always includes it.
            kept = [message for message in conversation.messages if message.seq > covers and message.role != "summary"]
            replacement = Message(role="summary", text=summary, is_error=made_by == "daemon", **at)
            at["run_id"] = None  # they belong to the session: no later run places them before its task
            loaded = [Message(role="skill", text=one.text, skill=one.use, **at) for one in skills]
            conversation.messages = [replacement, *loaded, *kept]


def _fold_hooks(conversation: Conversation, event: events.HooksRan, run: str, at: dict[str, Any]) -> None:
    """Fold the words of hooks: another result of a call, context for the model, and a task that they refused, which no
    prompt contains."""
    known = conversation.messages
    if event.event == "user_prompt_submit" and event.decision == "deny":
        conversation.messages = [one for one in known if one.run_id != run]
        return
    if event.output is not None:
        for place in range(len(known) - 1, -1, -1):
            if (known[place].role, known[place].call_id, known[place].run_id) == ("tool", event.call_id, run):
                known[place] = changed(known[place], text=event.output)
                break
    if event.context is not None:
        known.append(Message(role="note", text=event.context, **at))
