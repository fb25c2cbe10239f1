"""References of evidence: the target of a kind and an id, looked up in the index, the workspace and git.

All functions block on disk: call them in a thread, when the index is up to date (`state.caught_up`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from kheish.beneath import Door, files
from kheish.domain.events import frozen
from kheish.errors import EvidenceUnresolved, Fault, Invalid, NotBeneath, NotThere
from kheish.jobs import probing, sandbox
from kheish.store.git import commits
from kheish.store.log.index import Reader

_CALLS = ("tool.finished", "tool.started")


@frozen
class Place:
    """The context of references: the index, the state root, and the session and workspace of the referrer."""

    index: Reader
    root: Path
    session_id: str | None = None
    workspace: Door | None = None


def resolve(place: Place, kind: str, ref: str | None) -> dict[str, Any]:
    """Return the target of a reference, as facts that a reader understands in a year. Raises EvidenceUnresolved."""
    look = _KINDS.get(kind)
    if look is None:
        raise unresolved(f"There is no evidence of the kind {kind!r}; the kinds are {', '.join(_KINDS)}.", "/kind")
    if not ref:
        raise unresolved(f"Evidence of the kind {kind} needs a reference.", "/ref")
    return look(place, ref)


def unresolved(detail: str, path: str = "/ref") -> EvidenceUnresolved:
    """Return the error for a reference without a target."""
    return EvidenceUnresolved(detail, errors=[Fault(path, detail.rstrip("."))])


def _thing(noun: str, *shown: str) -> Callable[[Place, str], dict[str, Any]]:
    def look(place: Place, ref: str) -> dict[str, Any]:
        doc = place.index.thing(noun, ref)
        if doc is None:
            raise unresolved(f"There is no {noun} {ref!r}.")
        return {name: doc[name] for name in ("session_id", *shown)}

    return look


def _tool_call(place: Place, ref: str) -> dict[str, Any]:
    """Return a call of the session, by its id, or by `run/call`."""
    run_id, _, call_id = ref.rpartition("/")
    if place.session_id is None:
        raise unresolved(f"The tool call {ref!r} can only be looked up in a session.")
    facts: dict[str, Any] = {}
    for _, kind, line in place.index.events(0, limit=2**31, session=place.session_id, run=run_id or None, kinds=_CALLS):
        entry = orjson.loads(line)
        if entry["data"]["call_id"] != call_id:
            continue
        facts |= {"session_id": place.session_id, "run_id": entry["run"], "tool": entry["data"]["tool"]}
        if kind == "tool.finished":
            facts |= {"is_error": entry["data"]["is_error"], "at": entry["at"]}
    if not facts:
        raise unresolved(f"There is no tool call {ref!r} in the session {place.session_id}.")
    return facts


def _output(place: Place, ref: str) -> dict[str, Any]:
    """Return an output that a run emitted, by its id or kind (then the newest); or a run's final output, by the run's
    id."""
    cursor = None
    while place.session_id is not None:
        page = place.index.things("run", limit=200, cursor=cursor, session=place.session_id)
        for run in page.items:
            kinds = {one["output_id"]: one["kind"] for one in run["outputs"]}
            named = [ref] if ref in kinds else [id for id, kind in reversed(kinds.items()) if kind == ref]
            if named:
                facts = {"session_id": place.session_id, "run_id": run["run_id"]}
                return {**facts, "output_id": named[0], "output_kind": kinds[named[0]]}
            if ref == run["run_id"] and run["output"] is not None:
                return {"session_id": place.session_id, "run_id": run["run_id"], "output_kind": "final"}
        cursor = page.next_cursor
        if cursor is None:
            break
    raise unresolved(f"There is no output {ref!r} in the session.")


def _agent(place: Place, ref: str) -> dict[str, Any]:
    """Return the agent of the session; currently each session has exactly one."""
    session = place.index.thing("session", place.session_id) if place.session_id is not None else None
    if session is None or session["agent_id"] != ref:
        raise unresolved(f"There is no agent {ref!r} in this session.")
    return {"session_id": place.session_id}


def _asset(place: Place, ref: str) -> dict[str, Any]:
    """Return a stored asset, by its id."""
    doc = place.index.thing("asset", ref)
    if doc is None or doc["status"] == "deleted":
        raise unresolved(f"There is no asset {ref!r}.")
    return {name: doc[name] for name in ("name", "media_type", "bytes", "created_at")}


def _file(place: Place, ref: str) -> dict[str, Any]:
    """Return a file of the workspace, with the digest of its content."""
    if place.workspace is None:
        raise unresolved(f"The file {ref!r} can only be looked up in a workspace.")
    try:
        with files.open_file(place.workspace, ref) as (file, path):
            facts = files.digest_of(file, path)
    except NotThere as error:
        raise unresolved(f"There is no file {ref!r} in the workspace.") from error
    except NotBeneath as error:
        raise unresolved(error.detail) from error
    return {"path": facts.path, "bytes": facts.bytes, "sha256": facts.sha256}


def _commit(place: Place, ref: str) -> dict[str, Any]:
    """Return a commit of the workspace's repository, else of the state root."""
    for name, door in (("workspace", place.workspace), ("state root", Door(place.root))):
        try:
            commit = commits.read(door.path, ref, _confined(door) if name == "workspace" else None) if door else None
        except (OSError, Invalid) as error:
            raise unresolved(f"Git could not look up the commit {ref!r}: {error}.") from error
        if commit is not None:
            return {"repository": name, **commit}
    raise unresolved(f"There is no commit {ref!r} in the workspace or in the state root.")


def _confined(door: Door) -> commits.Confine | None:
    """Return the confinement of git, which sees no more than the agent's commands: a repository may refer to others."""
    if not probing.probe().available:
        return None
    return lambda argv: sandbox.wrap([str(word) for word in argv], workspace=door.path, hide=door.hidden.paths)


_KINDS: Mapping[str, Callable[[Place, str], dict[str, Any]]] = {
    "run": _thing("run", "status", "finished_at"),
    "tool_call": _tool_call,
    "task": _thing("task", "title", "status"),
    "approval": _thing("approval", "run_id", "tool", "status", "decisions"),
    "question": _thing("question", "run_id", "status"),
    "output": _output,
    "asset": _asset,
    "commit": _commit,
    "file": _file,
    "agent": _agent,
}
