"""Messages by people, schedules and the daemon; edits, removals and reactions.

`compose` returns drafts for a larger group; its caller holds `rooms.changing`, and awaits nothing between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson

from kheish import ids
from kheish.domain import events
from kheish.domain.assets import asset as assets
from kheish.domain.channels import addressing, emoji as emojis, naming, rooms
from kheish.domain.channels.definition import ChannelFile
from kheish.domain.channels.post import Post, Reactions
from kheish.domain.channels.thread import Thread
from kheish.domain.events import Draft, changed, frozen
from kheish.domain.events.channels import Author, PostBody, Reaction
from kheish.errors import Conflict, Fault, Forbidden, IdempotencyConflict, Invalid, NotFound, TooLarge
from kheish.texts import is_blank

if TYPE_CHECKING:
    from kheish.state.state import State

TEXT_BYTES = 16 * 1024
ADDRESSED, ATTACHMENTS = 50, 20
#: emojis of a message, and authors of each
EMOJIS, REACTING = 50, 200


@frozen
class Wanted:
    """A message that a caller wants to post."""

    text: str
    addressed: tuple[str, ...] = ()
    thread: str | None = None
    reply_to: str | None = None
    attachments: tuple[str, ...] = ()
    message_id: str | None = None
    tainted_by: str | None = None  # of the proposal that it takes up


def person(file: ChannelFile, names: dict[str, str], *, person: str | None, token: str) -> Author:
    """Return the author of a caller's message: the member that the token's person is, else a guest."""
    member = file.person(person)
    if member is None:
        return Author(kind="human", member=None, name=token.removeprefix("token:"), via=token, person=person)
    return Author(kind="human", member=member.member, name=names[member.member], via=token, person=person)


async def compose(
    state: State, channel_id: str, author: Author, wanted: Wanted, *, opens: bool, by: str
) -> list[Draft]:
    """Return the drafts of a message, whose assets are loaded; none if the same message was posted with its id before.

    Raises NotFound, Invalid, TooLarge, IdempotencyConflict.
    """
    file = rooms.file_of(state, channel_id)
    names = await naming.member_names(state, file)
    check_text(wanted.text)
    check_attachments(state, wanted.attachments)
    tagged = await asyncio.to_thread(addressing.tagged, file, wanted.text)  # members may have many tags
    digest = digest_of(author, wanted)
    if wanted.message_id is not None and await _is_posted(state, channel_id, wanted.message_id, digest):
        return []
    replied = await _replied(state, channel_id, wanted)
    message_id = wanted.message_id or ids.new("post")
    thread_id = replied.body.thread if replied is not None else wanted.thread
    thread = await rooms.recall_thread(state, channel_id, thread_id) if thread_id is not None else None
    addressed = addressing.named(file, wanted.addressed, names)
    mentioned = tuple(one for one in addressing.mentions(wanted.text, names) if one not in addressed)
    body = PostBody(
        message_id=message_id,
        thread=thread_id or message_id,
        author=author,
        text=wanted.text,
        at=ids.stamp(state.clock()),
        reply_to=wanted.reply_to,
        replied_to=_agent(replied),
        addressed=(*addressed, *mentioned),
        tagged=tagged,
        attachments=wanted.attachments,
        tainted_by=wanted.tainted_by,
        opens=opens,
    )
    return [posted(channel_id, body, thread, digest).on(by=by)]


def posted(channel_id: str, body: PostBody, thread: Thread | None, digest: str | None = None) -> events.ChannelPosted:
    """Return the entry of a message; `thread` is the one that it is in, None for a new one."""
    base = thread.base if thread is not None and not thread.is_active else None
    return events.ChannelPosted(channel_id=channel_id, post=body, base=base, digest=digest)


def check_text(text: str) -> None:
    """Check the text of a message. Raises Invalid, TooLarge."""
    if is_blank(text):
        raise Invalid("/text: is empty.", errors=[Fault("/text", "is empty")])
    size = len(text.encode())
    if size > TEXT_BYTES:
        raise TooLarge(
            f"The message has {size} bytes; at most {TEXT_BYTES}. Put it into a file, and name the file.",
            errors=[Fault("/text", f"has {size} bytes; at most {TEXT_BYTES}")],
        )


def check_attachments(state: State, given: Sequence[str]) -> None:
    """Check the attachments of a message, whose assets are loaded. Raises Invalid."""
    faults = [
        Fault(f"/attachments/{number}", f"there is no asset {id!r}")
        for number, id in enumerate(given)
        if assets.find(state, id) is None
    ]
    if faults:
        raise Invalid("; ".join(f"{one.path}: {one.message}" for one in faults) + ".", errors=faults)


def digest_of(author: Author, wanted: Wanted) -> str:
    """Return the sha256 of what a caller sends: the same id with the same digest is the same message."""
    sent = [author.identity, wanted.text, wanted.addressed, wanted.thread, wanted.reply_to, wanted.attachments]
    return sha256(orjson.dumps(sent)).hexdigest()


async def _is_posted(state: State, channel_id: str, message_id: str, digest: str) -> bool:
    ids.check_slug(message_id, "message_id")
    try:
        earlier = await rooms.recall_post(state, channel_id, message_id)
    except NotFound:
        return False
    if earlier.digest != digest:
        raise IdempotencyConflict(
            f"The message id {message_id!r} was used for another message in this channel; use a new one.",
            result=message_id,
        )
    return True


async def _replied(state: State, channel_id: str, wanted: Wanted) -> Post | None:
    """Return the message that is replied to. Raises NotFound, Invalid if it is in another thread."""
    if wanted.reply_to is None:
        return None
    replied = await rooms.recall_post(state, channel_id, wanted.reply_to)
    if wanted.thread not in (None, replied.body.thread):
        wrong = f"the message {wanted.reply_to!r} is in the thread {replied.body.thread!r}"
        raise Invalid(f"/reply_to: {wrong}.", errors=[Fault("/reply_to", wrong)])
    return replied


def _agent(replied: Post | None) -> str | None:
    return replied.body.author.member if replied is not None and replied.body.author.kind == "agent" else None


# --- changes of messages ----------------------------------------------------------------------------------------------


async def edit(state: State, channel_id: str, message_id: str, text: str, author: Author, *, by: str) -> list[Draft]:
    """Return the drafts that give a message another text; none for the text that it has. Only its author may.

    Raises NotFound, Forbidden, Conflict, Invalid, TooLarge.
    """
    check_text(text)
    post = await rooms.recall_post(state, channel_id, message_id)
    _check_present(post)
    if not post.body.author.is_same(author):
        raise Forbidden(f"The message {message_id!r} is {post.body.author.name}'s; only its author may edit it.")
    if post.body.text == text:
        return []
    body = changed(post.body, text=text)
    edited = events.ChannelEdited(
        channel_id=channel_id, post=body, made=post.made, edited_at=ids.stamp(state.clock()), digest=post.digest
    )
    return [edited.on(by=by)]


async def remove(
    state: State, channel_id: str, message_id: str, author: Author, *, may_moderate: bool, by: str
) -> list[Draft]:
    """Return the drafts that remove a message; none if it is removed. Its author may, or a moderator.

    Raises NotFound, Forbidden.
    """
    post = await rooms.recall_post(state, channel_id, message_id)
    if post.removed_at is not None:
        return []
    if not may_moderate and not post.body.author.is_same(author):
        raise Forbidden(
            f"The message {message_id!r} is {post.body.author.name}'s; only its author or an admin may remove it."
        )
    body = changed(post.body, text="", attachments=())
    removed = events.ChannelRemoved(
        channel_id=channel_id, post=body, made=post.made, removed_at=ids.stamp(state.clock()), edited_at=post.edited_at,
        digest=post.digest,
    )  # fmt: skip
    return [removed.on(by=by)]


async def react(
    state: State, channel_id: str, message_id: str, emoji: str, author: Author, *, is_added: bool, by: str
) -> list[Draft]:
    """Return the drafts of a reaction, or of its removal; none if it is so already. Raises NotFound, Conflict,
    Invalid."""
    emoji = await asyncio.to_thread(_spelled, emoji, is_added=is_added)
    post = await rooms.recall_post(state, channel_id, message_id)
    before = await rooms.recall_reactions(state, channel_id, message_id)
    _check_present(post)
    after = _reacted(before, emoji, author, is_added=is_added)
    if after is None:
        return []
    reacted = events.ChannelReacted(
        channel_id=channel_id, message_id=message_id, emoji=emoji, by=author.key,
        change="added" if is_added else "removed", reactions=after,
    )  # fmt: skip
    return [reacted.on(by=by)]


def _spelled(emoji: str, *, is_added: bool) -> str:
    """Return a reaction in its one spelling; one to take back may be older than that. Raises Invalid."""
    try:
        return emojis.normal(emoji)
    except Invalid:
        if is_added:
            raise
        return emoji


def _reacted(before: Reactions | None, emoji: str, author: Author, *, is_added: bool) -> tuple[Reaction, ...] | None:
    """Return the reactions after a change; None if nothing changes. Raises Conflict where there are too many."""
    known: dict[str, dict[str, str]] = {}
    for one in before.reactions if before is not None else ():
        spelled = _spelled(one.emoji, is_added=False)  # earlier versions kept each spelling
        known[spelled] = {**known.get(spelled, {}), **_reacting(one)}
    by = known.get(emoji, {})
    if (author.identity in by) == is_added:
        return None
    rest = {who: key for who, key in by.items() if who != author.identity}
    known[emoji] = {**rest, author.identity: author.key} if is_added else rest
    if len(known) > EMOJIS or len(known[emoji]) > REACTING:
        raise Conflict(f"The message has as many reactions as it may: {EMOJIS} emojis, {REACTING} authors of each.")
    return tuple(
        Reaction(emoji=name, by=tuple(keys.values()), identities=tuple(keys)) for name, keys in known.items() if keys
    )


def _reacting(one: Reaction) -> dict[str, str]:
    """Return who reacted, by session, person or token: the name at that time."""
    return dict(zip(one.identities or one.by, one.by, strict=True))


def _check_present(post: Post) -> None:
    if post.removed_at is not None:
        raise Conflict(f"The message {post.body.message_id!r} was removed at {post.removed_at}.")
