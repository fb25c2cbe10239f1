"""Attachments of channel messages: assets that a message refers to. They follow from the entries of a channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kheish.domain import events
from kheish.domain.channels.channel import key_of
from kheish.domain.events import Entry, frozen
from kheish.domain.shown import View
from kheish.state.event import adapter
from kheish.state.noun import Noun


@frozen
class Attachment(View):
    """A message that an asset is attached to."""

    shown_as = "ChannelAttachment"
    attachment_id: str
    asset_id: str
    channel: str
    message_id: str
    at: str
    made: int
    n: int

    @property
    def message(self) -> str:
        """The key of the message in the index."""
        return key_of(self.channel, self.message_id)


def fold(table: dict[str, Attachment], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    event: Any = entry.event
    ids = []
    for asset_id in dict.fromkeys(event.post.attachments):
        attachment_id = f"{key_of(event.channel_id, event.post.message_id)} {asset_id}"
        table[attachment_id] = Attachment(
            attachment_id=attachment_id,
            asset_id=asset_id,
            channel=event.channel_id,
            message_id=event.post.message_id,
            at=entry.at,
            made=entry.n,
            n=entry.n,
        )
        ids.append(attachment_id)
    return ids


def read(document: dict[str, Any]) -> Attachment:
    """Return the attachment that a document of the index describes."""
    value: Attachment = adapter(Attachment).validate_python(document)
    return value


NOUN = Noun(
    name="channel_attachment",
    cls=Attachment,
    folded=frozenset({events.ChannelPosted}),
    fold=lambda tables, entry: fold(tables[Attachment], entry),
    keep=lambda _: False,
    view=lambda attachment: attachment,
    status=lambda _: "attached",
    filters=("asset_id",),
    read=read,
)
