"""Threads as other parts of the daemon use them: open one, post a notice into it, set its status.

The callers hold `rooms.changing` (`open_thread`: at least `pins.owner`), and await nothing before they append.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kheish import ids
from kheish.domain import events
from kheish.domain.channels import posting, rooms
from kheish.domain.channels.thread import Thread
from kheish.domain.definitions import KINDS
from kheish.domain.events import Draft, changed
from kheish.domain.events.channels import About, Author, PostBody, ThreadBase
from kheish.errors import Fault, Invalid
from kheish.texts import is_line

if TYPE_CHECKING:
    from kheish.state.state import State

STATUSES = ("open", "resolved", "closed")
#: things of this daemon that a thread may be about, beside Definitions
THINGS = frozenset({"session", "run", "flow", "agent", "task", "project_task", "approval", "question", "goal"})
ABOUT, ABOUT_CHARACTERS = 20, 400
recall = rooms.recall_thread


def open_thread(
    state: State,
    channel_id: str,
    text: str,
    *,
    by: str,
    about: Sequence[Mapping[str, str]] = (),
    thread_id: str | None = None,
) -> tuple[str, list[Draft]]:
    """Return the id of a new thread, and the drafts that open it with a message of the daemon, which opens no turns.

    Raises NotFound for a channel without a definition, Invalid, TooLarge.
    """
    rooms.file_of(state, channel_id)
    posting.check_text(text)
    id, at = thread_id or ids.new("post"), ids.stamp(state.clock())
    base = ThreadBase(thread_id=id, opened_at=at, about=things(about))
    body = PostBody(message_id=id, thread=id, author=_daemon(by), text=text, at=at)
    return id, [events.ChannelPosted(channel_id=channel_id, post=body, base=base).on(by=by)]


def post_notice(state: State, thread: Thread, text: str, *, by: str) -> list[Draft]:
    """Return the drafts of a message of the daemon in a thread; it opens no turns. Raises Invalid, TooLarge."""
    posting.check_text(text)
    body = PostBody(
        message_id=ids.new("post"), thread=thread.base.thread_id, author=_daemon(by), text=text,
        at=ids.stamp(state.clock()),
    )  # fmt: skip
    return [posting.posted(thread.channel_id, body, thread).on(by=by)]


def set_status(
    state: State, thread: Thread, status: str | None, about: Sequence[Mapping[str, str]] | None = None, *, by: str
) -> list[Draft]:
    """Return the drafts that change the status of a thread, or what it is about (None: unchanged). Raises Invalid."""
    if status is not None and status not in STATUSES:
        wrong = f"{status!r} is no status; it is one of {', '.join(STATUSES)}"
        raise Invalid(f"/status: {wrong}.", errors=[Fault("/status", wrong)])
    base = changed(thread.base, status=status or thread.base.status)
    if about is not None:
        base = changed(base, about=things(about))
    if base == thread.base:
        return []
    return [events.ThreadChanged(channel_id=thread.channel_id, thread=base).on(by=by)]


def things(about: Sequence[Mapping[str, str]]) -> tuple[About, ...]:
    """Return the things that a thread is about. Raises Invalid."""
    given = tuple(About(kind=one["kind"], id=one["id"]) for one in about)
    if len(given) > ABOUT or not all(_is_word(one.kind) and "/" not in one.kind and _is_word(one.id) for one in given):
        wrong = (
            f"has at most {ABOUT} things, each with a kind (without /) and an id of 1 to {ABOUT_CHARACTERS} printable "
            "characters"
        )
        raise Invalid(f"/about: {wrong}.", errors=[Fault("/about", wrong)])
    return given


def check_thing(text: str) -> str:
    """Return the thing that a caller names as `kind/id`. Raises Invalid."""
    kind, slash, id = text.partition("/")
    is_whole = kind != "project_task" or all(id.partition("/"))
    if slash and _is_word(kind) and _is_word(id) and is_whole:
        return text
    raise Invalid(
        f"?about={text!r} names no thing; write kind/id, such as incident/42, session/ID, run/ID, flow/ID or "
        "project_task/PROJECT/TASK.",
        errors=[Fault("/about", "must be kind/id, or project_task/PROJECT/TASK")],
    )


def _is_word(text: str) -> bool:
    return 0 < len(text) <= ABOUT_CHARACTERS and is_line(text)


async def check_about(state: State, about: Sequence[Mapping[str, str]]) -> None:
    """Check that what a thread is to be about exists, if it is a thing of this daemon; other kinds are the caller's own
    (`incident`). Raises Invalid."""
    faults = []
    for number, one in enumerate(about):
        if await _is_missing(state, one["kind"], one["id"]):
            faults.append(Fault(f"/about/{number}", f"there is no {one['kind'].replace('_', ' ')} {one['id']!r}"))
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)


async def _is_missing(state: State, kind: str, id: str) -> bool:
    defined = next((one.name for one in KINDS.values() if one.singular == kind), None)
    if defined is not None:
        return id not in state.definitions.by_kind[defined]
    noun = state.nouns.by_name.get(kind) if kind in THINGS else None
    return noun is not None and await state.recall(noun.cls, id) is None


def _daemon(by: str) -> Author:
    return Author(kind="daemon", member=None, name=by)
