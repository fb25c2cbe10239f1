"""The digest of a request to a model, as the journal and the audit have it."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import Any

import orjson

from kheish.runtime.drivers.base import Message, Request, ToolSpec

_SETS = 64
#: the canonical form of sets of tools, by the identities of their specifications, which are kept with it: thousands of
#: runs are offered the same few sets
_sets: OrderedDict[tuple[int, ...], tuple[tuple[ToolSpec, ...], bytes]] = OrderedDict()


class Digests:
    """The digests of one run's requests: the messages that a request has in common with the last one, from the first,
    are not hashed again."""

    def __init__(self) -> None:
        self._messages: tuple[Message, ...] = ()
        self._head = b""
        self._hash = sha256()

    def of(self, request: Request) -> str:
        """Return the sha256 of the request's canonical form; the request itself can be rebuilt from earlier entries."""
        head = b'{"how":' + _canonical(request.generation) + b',"messages":['
        known = len(self._messages)
        if head != self._head or self._messages != request.messages[:known]:
            known, self._head, self._hash = 0, head, sha256(head)
        for at, message in enumerate(request.messages[known:], known):
            self._hash.update(b"," + _canonical(message) if at else _canonical(message))
        self._messages = request.messages
        whole = self._hash.copy()
        whole.update(b'],"model":' + _canonical(request.model) + b',"tools":' + _tools(request.tools) + b"}")
        return whole.hexdigest()


def digest(request: Request) -> str:
    """Return the digest of a single request."""
    return Digests().of(request)


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _tools(specs: tuple[ToolSpec, ...]) -> bytes:
    key = tuple(map(id, specs))
    known = _sets.get(key)
    if known is None:
        known = _sets[key] = specs, _canonical(specs)
        if len(_sets) > _SETS:
            _sets.popitem(last=False)
    return known[1]
