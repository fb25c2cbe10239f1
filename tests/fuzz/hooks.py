"""What schemathesis is told about this daemon; it imports this file by itself (`fuzzing.run`)."""

from __future__ import annotations

import itertools
import json
import os
import zlib
from typing import Any

import schemathesis
from requests.adapters import HTTPAdapter

#: ids of things that are there, by the parameter's name; and those that may be deleted
KNOWN: dict[str, list[str]] = json.loads(os.environ["FUZZ_KNOWN"])
SPARE: dict[str, list[str]] = json.loads(os.environ["FUZZ_SPARE"])

LONGEST = 128  # characters of an id
_addresses = itertools.cycle(range(2, 250))
_init_pool = HTTPAdapter.init_poolmanager


def _from_elsewhere(self: HTTPAdapter, *args: Any, **more: Any) -> None:
    """Each session from an address of its own: after 60 requests without a token an address gets 429, and the check
    `ignored_auth` takes nothing but 401 and 403."""
    _init_pool(self, *args, **more, source_address=(f"127.0.0.{next(_addresses)}", 0))


HTTPAdapter.init_poolmanager = _from_elsewhere  # type: ignore[method-assign]


def _known(where: dict[str, Any] | None, ids: dict[str, list[str]]) -> dict[str, Any] | None:
    """Half of the time an id is one that there is, else nobody gets past 404. One that is wrong on purpose stays."""
    for name, values in ids.items():
        if where and isinstance(where.get(name), str) and 0 < len(where[name]) <= LONGEST:
            dice = zlib.crc32(where[name].encode("utf-8", "replace"))
            if dice % 2:
                where[name] = values[dice // 2 % len(values)]
    return where


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    deletes = context.operation.method.upper() == "DELETE"
    ids = SPARE if deletes else KNOWN
    if path_parameters and not deletes and context.operation.path.startswith("/v1/playbooks/"):
        ids = {"id": KNOWN["playbook"], "version": KNOWN["version"]}
    return _known(path_parameters, ids)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    return _known(query, KNOWN)


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    # not `version`: a new one is what is asked for there
    ids = {name: values for name, values in KNOWN.items() if name != "version"}
    return _known(body, ids) if isinstance(body, dict) else body
