"""The sources of a Flow's report: the Flow, its events with the commits that hold them, and its Playbook version."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kheish.api import views
from kheish.api.flows.events import OfFlow
from kheish.api.services import Services
from kheish.domain.flows.flow import Flow
from kheish.domain.playbooks import versions as playbooks
from kheish.domain.playbooks.versions import RELEASES, Released, Version
from kheish.errors import KheishError, NotFound
from kheish.state import pins

#: the maximal number of entries in a report; it notes if there are more
MOST = 20_000
#: the maximal number of listed calls of each run
CALLS = 200
TIMELINE = frozenset({
    "flow.started", "phase.started", "phase.retried", "phase.blocked", "phase.ended", "evidence.attached",
    "approval.requested", "approval.resolved", "question.asked", "question.answered", "run.resumed",
    "flow.cancel_requested", "flow.sealed",
})  # fmt: skip
_CALLS = frozenset({"permission.decided", "tool.started", "tool.finished"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An entry of the Flow, and the commit that holds it; None if it is not committed yet."""

    entry: Mapping[str, Any]
    commit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts of a report. `released` is None if the version is unreadable; `trouble` holds the reason."""

    doc: Mapping[str, Any]
    timeline: Sequence[Happened]
    calls: Mapping[str, Sequence[Mapping[str, Any]]]  # by run
    commits: Sequence[tuple[str, str, str]]
    version: Version | None
    released: Released | None
    previous: Version | None
    diff: str
    trouble: str | None
    cut: bool


async def gather(services: Services, flow_id: str) -> Facts:
    """Read all facts of a Flow. Raises NotFound, Unavailable."""
    doc = await views.document(services.state, Flow, flow_id)
    await services.state.caught_up()
    entries = await asyncio.to_thread(_entries, services, doc)
    timeline = [Happened(entry=one, commit=await _holding(services, one["n"])) for one in entries if _shown(one)]
    version, released, previous, diff, trouble = await _version(services, doc["playbook"], doc["version"])
    return Facts(
        doc=doc,
        timeline=timeline,
        calls=_calls(entries),
        commits=await _commits(services, timeline),
        version=version,
        released=released,
        previous=previous,
        diff=diff,
        trouble=trouble,
        cut=len(entries) >= MOST,
    )


def _entries(services: Services, doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of the Flow and its runs, oldest first."""
    of = OfFlow(doc["flow_id"], {run["run_id"] for run in doc["runs"]})
    kinds = sorted(TIMELINE | _CALLS)
    entries: list[dict[str, Any]] = []
    for _, kind, line in services.state.index.events(0, limit=2**31, session=doc["session_id"], kinds=kinds):
        entry = orjson.loads(line)
        if of.takes(kind, entry["run"], line.encode()):
            entries.append(entry)
            if len(entries) >= MOST:
                break
    return entries


def _shown(entry: Mapping[str, Any]) -> bool:
    return entry["kind"] in TIMELINE and (entry["kind"] != "run.resumed" or entry["data"]["reason"] == "restart")


def _calls(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the calls of each run: tool, arguments, outcome, time."""
    by_run: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in entries:
        if entry["kind"] not in _CALLS:
            continue
        data = entry["data"]
        call = by_run.setdefault(entry["run"], {}).setdefault(
            data["call_id"], {"tool": data["tool"], "at": entry["at"]}
        )
        match entry["kind"]:
            case "permission.decided":
                call |= {"decision": data["decision"], "why": data["why"]}
            case "tool.started":
                call |= {"arguments": data["arguments"], "at": entry["at"]}
            case _:
                call |= {"is_error": data["is_error"], "code": data["code"]}
    return {run: list(calls.values())[:CALLS] for run, calls in by_run.items()}


async def _holding(services: Services, n: int) -> str | None:
    return await services.past.holding(n)


async def _commits(services: Services, timeline: Sequence[Happened]) -> list[tuple[str, str, str]]:
    """Return each commit once, in the order of the timeline, with its time and first line."""
    commits: list[tuple[str, str, str]] = []
    for commit in dict.fromkeys(one.commit for one in timeline if one.commit):
        log = await services.git.log(1, rev=commit)
        message = log[0]["message"].strip().partition("\n")[0] if log else ""
        first = next(one.entry["at"] for one in timeline if one.commit == commit)
        commits.append((commit, first[:19] + "Z", message))
    return commits


async def _version(
    services: Services, playbook_id: str, version: str
) -> tuple[Version | None, Released | None, Version | None, str, str | None]:
    """Return the version as it is now, its content, the previous version, and the changes since that version."""
    try:
        async with pins.owner(services.state, RELEASES, playbook_id):
            known = list(playbooks.versions(services.state, playbook_id).values())
            one = playbooks.get(services.state, playbook_id, version)
    except NotFound as error:
        return None, None, None, "", error.detail
    earlier = [other for other in known if other.made < one.made]
    previous = earlier[-1] if earlier else None
    try:
        released = await services.playbooks.read(playbook_id, version)
        before = await services.playbooks.read(playbook_id, previous.version) if previous else None
    except KheishError as error:  # tampered with, or missing: the report notes it instead of failing
        return one, None, previous, "", error.detail
    diff = _diff(before, released) if before else ""
    return one, released, previous, diff, None


def _diff(before: Released, after: Released) -> str:
    """Return the changes as text."""
    lines = difflib.unified_diff(
        before.raw.decode("utf-8", "replace").splitlines(),
        after.raw.decode("utf-8", "replace").splitlines(),
        before.version.tag,
        after.version.tag,
        lineterm="",
    )
    return "\n".join(lines)
