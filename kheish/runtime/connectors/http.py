"""Requests of any program: what a JSON body means by the expressions of the connector's file."""

from __future__ import annotations

from collections.abc import Mapping

from kheish.domain.connectors import templates
from kheish.domain.connectors.arrival import Arrival, Ignored, Parsed
from kheish.domain.connectors.definition import ConnectorFile
from kheish.domain.connectors.keys import plain_key
from kheish.errors import Fault, Invalid
from kheish.runtime.connectors import picking
from kheish.texts import is_blank

#: fields of templates that the map gives
_GIVEN = frozenset({"content", "actor", "key", "event"})


async def parse(file: ConnectorFile, raw: bytes, headers: Mapping[str, str], keys: tuple[str, ...] = ()) -> Parsed:
    """Return what a verified request means; `keys` are the scheme's idempotency keys: that of the event comes first.
    Raises Invalid."""
    event = headers.get("x-github-event")
    if event == "ping" and file.verify is not None and file.verify.scheme == "github":
        return Ignored(reason="a ping of GitHub")
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    expressions = {name: value for name, value in file.map.model_dump().items() if value is not None}
    if file.session is not None and file.session.payload is not None:
        expressions["session"] = file.session.payload
    picked, fields = await picking.pick(raw, media, expressions, names_of(file))
    content, sender = picking.text_of(picked.get("content")), picking.text_of(picked.get("actor"))
    if content is None or is_blank(content):
        raise Invalid("The request has no content.", errors=[Fault("/map/content", "picks nothing")])
    fields |= {"content": content, "actor": sender, "key": picking.text_of(picked.get("key")), "event": event}
    first = picking.text_of(picked.get("idempotency")) or (keys[0] if keys else headers.get("idempotency-key"))
    metadata = picked.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise Invalid("map.metadata picks no object.", errors=[Fault("/map/metadata", "is no object")])
    return Arrival(
        keys=tuple(dict.fromkeys(plain_key(one) for one in (first, *keys[1:]) if one)),
        content=content,
        fields={name: value for name, value in fields.items() if value is not None},
        what="event",
        sender=sender,
        event=event,
        session=picking.text_of(picked.get("session")),
        metadata={**(metadata or {}), **({"event": event} if event else {})},
    )


def names_of(file: ConnectorFile) -> tuple[str, ...]:
    """Return the members of the body that the file's templates name."""
    named = list(templates.names(file.session.key)) if file.session is not None and file.session.key else []
    if file.target.flow is not None:
        for value in file.target.flow.inputs.values():
            named += templates.named(value) if isinstance(value, str) else ()
    return tuple(name for name in dict.fromkeys(named) if name not in _GIVEN)
