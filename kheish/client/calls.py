"""Every request that the client can make, as data: what to send and how to read the answer. No I/O here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from kheish.client import faults
from kheish.client.shapes import (
    Answer,
    Approval,
    ChangedFile,
    Evidence,
    FileProblem,
    Json,
    Page,
    Question,
    RunView,
    Session,
    SessionSettings,
    Submission,
    Task,
    Version,
)
from kheish.errors import Unreachable

T = TypeVar("T")
Query = Mapping[str, object]
YAML = "application/yaml"
#: seconds of one long poll, and what a slow daemon gets beyond it
POLL, _MARGIN = 60.0, 1.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """A Definition as it is stored, byte for byte, and the ETag to send back with a change."""

    text: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request; `read` turns its answer into what the caller gets. `patience` is in seconds."""

    method: str
    path: str
    read: Callable[[Reply], T]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60.0


#: seconds: git pushes as long as the network needs, and the daemon ends it in time
_PUSHING = 3600.0


def answer(call: Call[T], reply: Reply) -> T:
    """What the answer means. Raises the KheishError that a problem document stands for."""
    if reply.status >= 400:
        raise faults.from_reply(reply.status, reply.body)
    return call.read(reply)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body) if reply.body else None
    except ValueError as error:
        raise Unreachable("What answered sent no JSON; is it a Kheish daemon? See the address in --url.") from error


def _nothing(_: Reply) -> None:
    return None


def read_text(reply: Reply) -> Text:
    """The answer as it is, with its ETag."""
    return Text(reply.body.decode(), reply.headers.get("etag"))


def path(*parts: str, query: Query | None = None) -> str:
    """`/v1/…` with each part quoted, and the query parameters that are not None."""
    where = "/v1/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: str(value) for name, value in (query or {}).items() if value is not None}
    return f"{where}?{urlencode(given)}" if given else where


def get(*parts: str, query: Query | None = None) -> Call[Any]:
    """Read something that is JSON."""
    return Call("GET", path(*parts, query=query), _json)


def send(method: str, *parts: str, body: object = None, query: Query | None = None, **more: Any) -> Call[Any]:
    """Send JSON, and read the answer."""
    content = json.dumps({} if body is None else body, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    return Call(method, path(*parts, query=query), _json, content, headers, **more)


def given(**fields: object) -> dict[str, object]:
    """The fields that the caller set; None stands for "not said"."""
    return {name: value for name, value in fields.items() if value is not None}


def without_answer(method: str, *parts: str) -> Call[None]:
    """Something to do whose answer says nothing."""
    return Call(method, path(*parts), _nothing)


# daemon


def status() -> Call[Json]:
    return get("status")


def problems() -> Call[Page[FileProblem]]:
    return get("problems")


def config() -> Call[Json]:
    return get("config")


def pause(route: str | None) -> Call[Json]:
    return send("POST", "pause", body=given(route=route))


def resume(route: str | None, takeover: bool = False) -> Call[Json]:
    if not takeover:
        return send("POST", "resume", body=given(route=route))
    return send("POST", "resume", body=given(route=route, takeover=True), patience=_PUSHING)


def state(what: str) -> Call[Json]:
    return send("POST", "state", what, patience=_PUSHING)


def backup_push() -> Call[Json]:
    return send("POST", "state", "backup", patience=_PUSHING)


def state_log(query: Query) -> Call[Page[Json]]:
    return get("state", "log", query=query)


def state_blame(path: str, at: str | None) -> Call[Json]:
    return get("state", "blame", query={"path": path, "at": at})


def permission(tool: str, arguments: Json, session: str | None) -> Call[Json]:
    return send("POST", "permissions", "check", body=given(tool=tool, arguments=arguments, session_id=session))


# sessions


def session_create(session_id: str | None, settings: SessionSettings) -> Call[Session]:
    return send("POST", "sessions", body={**given(session_id=session_id), **settings})


def session_get(session_id: str, at: str | None = None) -> Call[Session]:
    return get("sessions", session_id, query={"at": at})


def session_list(query: Query) -> Call[Page[Session]]:
    return get("sessions", query=query)


def session_patch(session_id: str, settings: SessionSettings) -> Call[Session]:
    return send("PATCH", "sessions", session_id, body=settings)


def session_end(session_id: str, force: bool) -> Call[Session]:
    return send("POST", "sessions", session_id, "end", body={"force": True} if force else {})


def session_interrupt(session_id: str) -> Call[Session]:
    return send("POST", "sessions", session_id, "interrupt")


def session_delete(session_id: str) -> Call[Json]:
    return send("DELETE", "sessions", session_id)


def session_fork(session_id: str, at: str | None, new_id: str | None, title: str | None) -> Call[Session]:
    return send("POST", "sessions", session_id, "fork", body=given(at=at, session_id=new_id, title=title))


def session_history(session_id: str, query: Query) -> Call[Page[Json]]:
    return get("sessions", session_id, "history", query=query)


def session_diff(session_id: str, query: Query) -> Call[Json]:
    return get("sessions", session_id, "diff", query=query)


def session_changes(session_id: str, query: Query) -> Call[Page[ChangedFile]]:
    return get("sessions", session_id, "changes", query=query)


def session_search(session_id: str, query: Query) -> Call[Page[Json]]:
    return get("sessions", session_id, "search", query=query)


def session_journal(session_id: str, query: Query) -> Call[Page[Json]]:
    return get("sessions", session_id, "journal", query=query)


def session_tasks(session_id: str, query: Query) -> Call[Page[Task]]:
    return get("sessions", session_id, "tasks", query=query)


# runs


def run_start(
    session: str, content: str | None, key: str | None, wait: str | None, submission: Submission
) -> Call[RunView]:
    return send(
        "POST",
        "sessions",
        session,
        "runs",
        body={**given(content=content), **submission},
        query={"wait": wait},
        headers={"idempotency-key": key} if key else {},
        patience=60.0 + wait_seconds(wait),
    )


def wait_seconds(wait: str | None) -> float:
    """How much longer than usual the answer may take; what is no duration is the daemon's to refuse."""
    from kheish.ids import duration

    try:
        return duration(wait) if wait else 0.0
    except ValueError:
        return 0.0


def run_get(run_id: str, at: str | None = None) -> Call[RunView]:
    return get("runs", run_id, query={"at": at})


def run_wait(run_id: str, seconds: float) -> Call[RunView]:
    """Long-poll a run: the answer comes when it ends, waits for a user, or after `seconds`."""
    wait = max(0.0, min(seconds, POLL))
    found: Call[RunView] = get("runs", run_id, query={"wait": f"{wait * 1000:.0f}ms"})
    return replace(found, patience=wait + _MARGIN)


def run_list(query: Query) -> Call[Page[RunView]]:
    return get("runs", query=query)


def run_cancel(run_id: str, reason: str | None) -> Call[RunView]:
    return send("POST", "runs", run_id, "cancel", body=given(reason=reason))


def run_cancel_many(filters: Query) -> Call[Json]:
    return send("POST", "runs", "cancel", body=given(**filters))


def run_retry(run_id: str, key: str | None) -> Call[RunView]:
    return send("POST", "runs", run_id, "retry", headers={"idempotency-key": key} if key else {})


# approvals and questions


def approval_list(query: Query) -> Call[Page[Approval]]:
    return get("approvals", query=query)


def approval_get(approval_id: str, at: str | None = None) -> Call[Approval]:
    return get("approvals", approval_id, query={"at": at})


def approval_resolve(
    approval_id: str, decision: str, reason: str | None, arguments: Json | None, remember: str | None
) -> Call[Approval]:
    body = given(decision=decision, reason=reason, arguments=arguments, remember=remember)
    return send("POST", "approvals", approval_id, "resolve", body=body)


def question_list(query: Query) -> Call[Page[Question]]:
    return get("questions", query=query)


def question_get(question_id: str, at: str | None = None) -> Call[Question]:
    return get("questions", question_id, query={"at": at})


def question_answer(question_id: str, answers: Mapping[str, Answer]) -> Call[Question]:
    return send("POST", "questions", question_id, "answer", body={"answers": answers})


def question_decline(question_id: str, reason: str | None) -> Call[Question]:
    return send("POST", "questions", question_id, "decline", body=given(reason=reason))


# definitions: a value is JSON, a str is the file's own text


def definition_list(kind: str, query: Query) -> Call[Page[Json]]:
    return get(kind, query=query)


def definition_get(kind: str, name: str, at: str | None = None) -> Call[Json]:
    return get(kind, name, query={"at": at})


def definition_text(kind: str, name: str, at: str | None = None) -> Call[Text]:
    return Call("GET", path(kind, name, query={"at": at}), read_text, headers={"accept": YAML})


def definition_put(kind: str, name: str, content: Json | str, if_match: str | None) -> Call[Json]:
    headers = {"if-match": if_match} if if_match else {}
    return _define("PUT", path(kind, name), content, headers)


def definition_validate(kind: str, content: Json | str, name: str | None) -> Call[Json]:
    return _define("POST", path(kind, "validate", query={"id": name}), content, {})


def _define(method: str, where: str, content: Json | str, headers: Mapping[str, str]) -> Call[Json]:
    if isinstance(content, str):
        return Call(method, where, _json, content.encode(), {"content-type": YAML, **headers})
    body = json.dumps(content, ensure_ascii=False).encode()
    return Call(method, where, _json, body, {"content-type": "application/json", **headers})


def definition_delete(kind: str, name: str, if_match: str | None) -> Call[None]:
    return Call("DELETE", path(kind, name), _nothing, headers={"if-match": if_match} if if_match else {})


def definition_history(kind: str, name: str, query: Query) -> Call[Page[Json]]:
    return get(kind, name, "history", query=query)


# versions of Playbooks


def version_list(name: str, query: Query) -> Call[Page[Version]]:
    return get("playbooks", name, "versions", query=query)


def version_get(name: str, version: str, at: str | None = None) -> Call[Version]:
    return get("playbooks", name, "versions", version, query={"at": at})


def version_text(name: str, version: str) -> Call[Text]:
    return Call("GET", path("playbooks", name, "versions", version), read_text, headers={"accept": YAML})


def version_publish(name: str, version: str, notes: str | None) -> Call[Version]:
    return send("POST", "playbooks", name, "versions", body=given(version=version, notes=notes))


def version_release(
    name: str, version: str, state: str, evidence: Sequence[Evidence], more: Mapping[str, Any]
) -> Call[Version]:
    body = {"state": state, "evidence": list(evidence), **given(**more)}
    return send("POST", "playbooks", name, "versions", version, "release", body=body)


def version_diff(name: str, before: str | None, after: str | None) -> Call[Json]:
    return get("playbooks", name, "diff", query={"from": before, "to": after})


def version_blame(name: str, version: str | None) -> Call[Page[Json]]:
    return get("playbooks", name, "blame", query={"version": version})
