"""Messages of channels, and their reactions. Only the index keeps them: an entry that changes one holds all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kheish.domain import events
from kheish.domain.channels.channel import key_of
from kheish.domain.events import Entry, frozen
from kheish.domain.events.channels import Author, PostBody, Reaction
from kheish.domain.shown import View
from kheish.state.event import adapter
from kheish.state.noun import Noun, Tables


@frozen
class Post:
    """A message as recorded in the journal."""

    channel_id: str
    body: PostBody
    made: int
    n: int
    digest: str | None = None
    edited_at: str | None = None
    removed_at: str | None = None


@frozen
class Reactions:
    """The reactions to a message."""

    channel_id: str
    message_id: str
    reactions: tuple[Reaction, ...]
    made: int
    n: int


def _fold_post(tables: Tables, entry: Entry) -> Iterable[str]:
    event: Any = entry.event
    body: PostBody = event.post
    key = key_of(event.channel_id, body.message_id)
    match event:
        case events.ChannelPosted(digest=digest):
            post = Post(channel_id=event.channel_id, body=body, made=entry.n, n=entry.n, digest=digest)
        case events.ChannelEdited(made=made, edited_at=at):
            post = Post(channel_id=event.channel_id, body=body, made=made, n=entry.n, digest=event.digest, edited_at=at)
        case _:
            post = Post(
                channel_id=event.channel_id, body=body, made=event.made, n=entry.n, digest=event.digest,
                edited_at=event.edited_at, removed_at=event.removed_at,
            )  # fmt: skip
    tables[Post][key] = post
    return (key,)


def _fold_reactions(tables: Tables, entry: Entry) -> Iterable[str]:
    event: Any = entry.event
    key = key_of(event.channel_id, event.message_id)
    tables[Reactions][key] = Reactions(
        channel_id=event.channel_id, message_id=event.message_id, reactions=event.reactions, made=entry.n, n=entry.n
    )
    return (key,)


def view(post: Post) -> dict[str, Any]:
    """Return the message as the API shows it, without its reactions."""
    body = post.body
    return {
        "message_id": body.message_id,
        "channel": post.channel_id,
        "thread": body.thread,
        "reply_to": body.reply_to,
        "from": body.author,
        "addressed": body.addressed,
        "text": body.text,
        "attachments": body.attachments,
        "turn_id": body.turn_id,
        "edited_at": post.edited_at,
        "removed_at": post.removed_at,
        "at": body.at,
        "tainted_by": body.tainted_by,
        "replied_to": body.replied_to,
        "tagged": body.tagged,
        "mentioned": body.mentioned,
        "opens": body.opens,
        "digest": post.digest,
        "changed_in": body.thread if post.edited_at is not None or post.removed_at is not None else None,
        "made": post.made,
        "n": post.n,
    }


#: members of a document that answers leave out
INTERNAL = frozenset({"replied_to", "tagged", "mentioned", "opens", "digest", "changed_in", "made"})


def read(doc: Mapping[str, Any]) -> Post:
    """Return the message in a document of the index."""
    names = ("message_id", "thread", "text", "at", "reply_to", "replied_to", "addressed", "tagged", "mentioned",
             "attachments", "turn_id", "tainted_by", "opens")  # fmt: skip
    given: dict[str, Any] = {name: tuple(doc[name]) if isinstance(doc[name], list) else doc[name] for name in names}
    body = PostBody(**given, author=Author(**doc["from"]))
    return Post(
        channel_id=doc["channel"], body=body, made=doc["made"], n=doc["n"], digest=doc["digest"],
        edited_at=doc["edited_at"], removed_at=doc["removed_at"],
    )  # fmt: skip


def read_reactions(doc: Mapping[str, Any]) -> Reactions:
    """Return the reactions in a document of the index."""
    value: Reactions = adapter(Reactions).validate_python(
        {("channel_id" if name == "channel" else name): value for name, value in doc.items()}
    )
    return value


@frozen
class ReactionsView(View):
    """The reactions to a message, as the index has them."""

    channel: str
    message_id: str
    reactions: tuple[Reaction, ...]
    made: int
    n: int


def _view_reactions(value: Reactions) -> ReactionsView:
    return ReactionsView(
        channel=value.channel_id, message_id=value.message_id, reactions=value.reactions, made=value.made, n=value.n
    )


def _never(_: Any) -> bool:
    """Return whether a message stays in memory (`Noun.keep`): it never does."""
    return False


NOUN = Noun(
    name="post",
    cls=Post,
    folded=frozenset({events.ChannelPosted, events.ChannelEdited, events.ChannelRemoved}),
    fold=_fold_post,
    keep=_never,
    view=view,
    status=lambda post: "removed" if post.removed_at is not None else "posted",
    filters=("thread", "channel", "changed_in"),
    read=read,
)
REACTIONS = Noun(
    name="channel_reactions",
    cls=Reactions,
    folded=frozenset({events.ChannelReacted}),
    fold=_fold_reactions,
    keep=_never,
    view=_view_reactions,
    status=lambda value: None,
    read=read_reactions,
)
