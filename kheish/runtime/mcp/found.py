"""The tools of a server as agents get them: named for models, with an effect, and their input checked by their schema.

Building one may wait for a confined child, since the schema is third-party text.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import orjson

from kheish.domain.mcp import names
from kheish.domain.mcp.server import McpServer
from kheish.runtime import judging
from kheish.runtime.tools.base import Context, Effect, Replay, Result, Suspended, Tool
from kheish.runtime.tools.parsing import InvalidSchema

#: seconds for checking the schemas of a list
_SECONDS = 60.0
Run = Callable[[Any, Context], Awaitable[Result | Suspended]]
Recover = Callable[[Any, Context], Awaitable[Result | Suspended | None]]
Resume = Callable[[Any, Context], Awaitable[Mapping[str, Any] | Result | Suspended]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A tool that a server lists. `problem` is why it is not offered, or what is doubtful about it; `own_name` is the
    server's name of it."""

    name: str
    true_name: str
    own_name: str
    effect: Effect
    problem: str | None = None
    digest: str = ""
    tool: Tool | None = None

    def view(self) -> dict[str, Any]:
        """Return the tool as the API shows it."""
        return {
            "name": self.name,
            "true_name": self.true_name,
            "effect": self.effect.value,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """The functions of a server's tools: each returns the function of `base.Tool` for a tool's own name."""

    run: Callable[[str], Run]
    recover: Callable[[str], Recover]
    resume: Callable[[str], Resume]


@dataclass(slots=True)
class Known:
    """The newest lists of a server; they stay while the server is away."""

    digest: str
    mark: str = ""  # of the lists: equal ones are not read again
    found: tuple[Found, ...] = ()
    instructions: str | None = None
    has_resources: bool = False
    has_prompts: bool = False
    tools: Mapping[str, Tool] = field(default_factory=dict)


def digest_of(raw: Mapping[str, Any]) -> str:
    """Return the digest of a tool's definition: its name, description, schema and annotations."""
    return hashlib.sha256(orjson.dumps(dict(raw), option=orjson.OPT_SORT_KEYS)).hexdigest()


def mark_of(listed: Sequence[Mapping[str, Any]], accepted: Mapping[str, str]) -> str:
    """Return a digest of a list, and of the definitions whose annotations count."""
    return digest_of({"tools": [dict(one) for one in listed], "accepted": dict(accepted)})


async def build(
    server_id: str,
    server: McpServer,
    listed: Sequence[Mapping[str, Any]],
    left_out: Iterable[Any],
    calling: Calling,
    accepted: Mapping[str, str],
) -> tuple[Found, ...]:
    """Return the tools of a list. `accepted` has the digests of definitions that were there before: where annotations
    are trusted, those of a tool that has changed since are not."""
    found, until = list[Found](), time.monotonic() + _SECONDS
    for raw in listed:
        if time.monotonic() > until:
            found.append(_left_out(server_id, str(raw["name"]), f"checking the tools takes more than {_SECONDS:g} s"))
        else:
            found.append(await _build(server_id, server, raw, calling, accepted))
    return (*found, *(_left_out(server_id, one.name, one.why) for one in left_out))


def _left_out(server_id: str, own_name: str, why: str) -> Found:
    return Found(
        name=names.model_name(server_id, own_name),
        true_name=names.true_name(server_id, own_name),
        own_name=own_name,
        effect=Effect.EFFECT,
        problem=f"left out: {why}",
    )


async def _build(
    server_id: str, server: McpServer, raw: Mapping[str, Any], calling: Calling, accepted: Mapping[str, str]
) -> Found:
    own_name, digest = str(raw["name"]), digest_of(raw)
    if not any(fnmatchcase(own_name, glob) for glob in server.tools):
        return _left_out(server_id, own_name, "not selected by tools")
    is_changed = accepted.get(own_name, digest) != digest
    hints = raw.get("annotations") if server.trust_annotations and not is_changed else None
    effect, replay = _classes(hints or {})
    name, true_name = names.model_name(server_id, own_name), names.true_name(server_id, own_name)
    try:
        tool = await judging.run(
            Tool,
            name=name,
            true_name=true_name,
            description=_description(raw),
            arguments=raw["inputSchema"],
            effect=effect,
            replay=replay,
            run=calling.run(own_name),
            recover=calling.recover(own_name),
            resume=calling.resume(own_name),
            network=True,  # audited, and its results are untrusted, wherever it gets them
            timeout=float("inf"),  # the connection ends a call, and its time stands still while a user is asked
        )
    except InvalidSchema as error:
        return _left_out(server_id, own_name, f"its inputSchema cannot be used: {str(error)[:300]}")
    problem = None
    if server.trust_annotations and is_changed:
        problem = f"its definition has changed; its annotations count again after `kheish trust mcp/{server_id}`"
    return Found(
        name=name, true_name=true_name, own_name=own_name, effect=effect, problem=problem, digest=digest, tool=tool
    )


def _description(raw: Mapping[str, Any]) -> str:
    text = str(raw.get("description") or raw.get("title") or "").strip()
    return text or f"The tool {raw['name']} of an MCP server."


def _classes(hints: Mapping[str, Any]) -> tuple[Effect, Replay]:
    """Return the effect and replay classes by the server's own word; without any, the most careful ones."""
    if hints.get("readOnlyHint") is True:
        return Effect.READ, Replay.SAFE
    return Effect.EFFECT, Replay.SAFE if hints.get("idempotentHint") is True else Replay.UNSAFE
