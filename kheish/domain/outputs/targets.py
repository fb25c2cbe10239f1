"""Reply targets: the name of an output or a connector, and the address there. They are checked when work is submitted.

`find` is the only place that resolves a name: outputs and connectors share one namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import TypeAdapter, ValidationError

from kheish import addresses
from kheish.domain import routes
from kheish.domain.connectors.definition import AUDIENCE as CONNECTOR, CHATS
from kheish.domain.definitions import InForce
from kheish.domain.outputs import places
from kheish.domain.outputs.definition import AUDIENCE as OUTPUT, KINDS, OutputFile
from kheish.errors import Fault
from kheish.settings import Mail, check_url

Target = Mapping[str, Any]
#: the fields of a target that each kind has besides `output`, and those that the file may give instead
FIELDS: Mapping[str, frozenset[str]] = {
    "http": frozenset({"url"}),
    "slack": frozenset({"channel", "thread_ts"}),
    "telegram": frozenset({"chat", "topic"}),
    "email": frozenset({"to", "subject", "in_reply_to"}),
    "file": frozenset({"path"}),
    "command": frozenset(),
    "apprise": frozenset(),
}
#: the field that a target of a kind needs if the file has none: its name in the target, and in the file
_NEEDED = {"http": "url", "slack": "channel", "telegram": "chat", "email": "to"}
_MOST_BYTES = 8192
_MAILS: TypeAdapter[tuple[Mail, ...]] = TypeAdapter(tuple[Mail, ...])


def find(known: InForce, name: str) -> OutputFile | None:
    """Return the sink that a name stands for: an output, else a connector of a chat platform, with its credentials;
    None if there is none."""
    if (found := known.by_kind["outputs"].get(name)) is not None:
        sink: OutputFile = found.value
        return sink
    connector = known.by_kind["connectors"].get(name)
    if connector is None or connector.value.kind not in CHATS or connector.value.token is None:
        return None
    value = connector.value
    return _of_connector(value.kind, value.token, value.api_base, value.disabled)


@lru_cache(maxsize=256)
def _of_connector(kind: str, token: str, api_base: str | None, disabled: bool) -> OutputFile:
    return OutputFile(kind=kind, token=token, api_base=api_base, disabled=disabled)


def audience(known: InForce, name: str) -> str:
    """Return the audience of the leases of a target's credentials."""
    return f"{OUTPUT if name in known.by_kind['outputs'] else CONNECTOR}{name}"


def faults(
    known: InForce, targets: Sequence[Any], slots: Mapping[str, str | None] | None, field: str = "reply_targets"
) -> list[Fault]:
    """Return the reasons why outputs cannot be delivered to these targets, which are in a field of a request. Without
    `slots`, credentials are not looked at."""
    found = []
    for number, target in enumerate(targets):
        for place, message in _faults(known, target, slots):
            found.append(Fault(f"/{field}/{number}{place}", message))
    return found


def key_of(target: Target) -> str:
    """Return the name of a target: the output and the address; deliveries with the same name share their order."""
    return orjson.dumps(dict(target), option=orjson.OPT_SORT_KEYS).decode()


def addressed(sink: OutputFile, target: Target, field: str) -> Any:
    """Return a field of the address: the target's, else the file's."""
    value = target.get(field)
    return value if value is not None else getattr(sink, "to" if field == "path" else field, None)


def _faults(known: InForce, target: Any, slots: Mapping[str, str | None] | None) -> Iterator[tuple[str, str]]:
    if not isinstance(target, Mapping) or not isinstance(target.get("output"), str):
        yield "", 'names no output: {"output": NAME, …}'
        return
    if len(orjson.dumps(dict(target))) > _MOST_BYTES:
        yield "", f"has more than {_MOST_BYTES} bytes"
        return
    name = str(target["output"])
    sink = find(known, name)
    if sink is None:
        yield "", f"there is no output and no connector {name!r}: kheish outputs list"
        return
    allowed = FIELDS.get(sink.kind)
    for field in sorted(target.keys() - {"output"}):
        if allowed is not None and field not in allowed:
            yield f"/{field}", f"is no field of a target of kind {sink.kind}; it has {_words(allowed)}"
        elif allowed is not None and (wrong := _wrong(known, sink, field, target[field])):
            yield f"/{field}", wrong
    if sink.kind == "http" and sink.url is not None and "url" not in target and (wrong := _closed(known, sink.url)):
        yield "", f"the url of {name} {wrong}"
    needed = _NEEDED.get(sink.kind)
    if needed is not None and addressed(sink, target, needed) is None:
        yield "", f"names no {needed}, and {name} has none"
    if sink.disabled:
        yield "", f"the output {name} is switched off (disabled: true)"
    for slot in sink.secrets if slots is not None else ():
        if reason := routes.lacking(slot, os.environ, slots or {}):
            yield "", reason


def _wrong(known: InForce, sink: OutputFile, field: str, value: Any) -> str | None:
    """Return the fault of a value in an address, or None."""
    try:
        match field:
            case "url":
                return _url_fault(known, sink, value) if isinstance(value, str) else "is no text"
            case "path":
                return places.fault(sink, value) if isinstance(value, str) else "is no text"
            case "to":
                _MAILS.validate_python([value] if isinstance(value, str) else value)
                return None
            case "topic":
                return None if type(value) is int and value > 0 else "is no number of a topic"
            case "chat":
                return None if type(value) is int or _is_line(value) else "is no chat"
            case _:
                return None if _is_line(value) else "is no line of text"
    except ValidationError:
        return "needs an address of e-mail, or a list of them"
    except ValueError as error:
        return str(error)


def _url_fault(known: InForce, sink: OutputFile, url: str) -> str | None:
    """Return the fault of an address of a target. Raises ValueError for a text that is no address."""
    return _foreign(sink, check_url(url)) or _closed(known, url)


def _closed(known: InForce, url: str) -> str | None:
    """Return a fault for an address in figures that the network guard refuses; names are looked up for an attempt."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    address, allow = addresses.literal(host), known.config.network.allow
    if address is None or addresses.has_host(allow, host):
        return None
    reason = addresses.refusal(address, allow)
    return f"leads to {address}, which is {reason}; network.allow in kheish.yaml may allow it" if reason else None


def _foreign(sink: OutputFile, url: str) -> str | None:
    """Return a fault for an address outside the sink's own site: its secrets must not be sent there."""
    if sink.url is None:
        return None
    own, other = urlsplit(sink.url), urlsplit(url)
    if (own.scheme, own.netloc.lower()) == (other.scheme, other.netloc.lower()):
        return None
    return f"is not on {own.scheme}://{own.netloc}, the site of this output"


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and value.isprintable()


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


assert FIELDS.keys() == KINDS.keys()
