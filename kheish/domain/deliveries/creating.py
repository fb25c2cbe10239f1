"""The deliveries that follow from events, in the events' own group: a kill loses none, and makes none twice.

Outputs go to the run's reply targets. Waiting approvals and questions, and failed runs, are announced where the
session says, else its project, else kheish.yaml (`announce`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from kheish.domain import events
from kheish.domain.deliveries import verbs
from kheish.domain.events import Draft, Event
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.state.state import State
from kheish.texts import answer_command

_MOST = 4000
_ARGUMENTS = 1500


def companions(state: State, drafts: Sequence[Draft]) -> list[Draft]:
    """Return the deliveries of events that are about to be appended."""
    concerned = [draft for draft in drafts if type(draft.event) in _CAUSES]
    return [made for draft in concerned for made in _of(state, draft)] if concerned else []


def _of(state: State, draft: Draft) -> Iterator[Draft]:
    event: Any = draft.event
    if draft.session is None:
        return
    if isinstance(event, events.OutputEmitted):
        run = state.find(Run, draft.run or "")
        for reply in run.settings.reply_targets if run is not None else ():
            made = verbs.created(event.output_id, event.output_kind, reply)
            yield made.on(draft.session, draft.run)
        return
    targets = announced(state, draft.session)
    if not targets:
        return
    id, kind, text = _ANNOUNCED[type(event)](event, draft)
    for target in targets:
        made = verbs.created(id, kind, target, content=text[:_MOST])
        yield made.on(draft.session, draft.run)


def announced(state: State, session_id: str) -> Sequence[Mapping[str, Any]]:
    """Return the targets of the announcements of a session."""
    session = state.find(Session, session_id)
    settings: Mapping[str, Any] = session.settings if session is not None else {}
    if own := settings.get("announce"):
        return tuple(own)
    known = state.definitions
    projects = [settings["project"]] if settings.get("project") else known.projects_of(session_id)
    for id in projects:
        project = known.by_kind["projects"].get(id)
        if project is not None and project.value.announce:
            return tuple(target.plain for target in project.value.announce)
    return tuple(target.plain for target in known.config.announce)


_Said = tuple[str, str, str]


def _approval(event: Any, draft: Draft) -> _Said:
    id = event.approval_id
    more = "" if event.required < 2 else f"\nIt needs {event.required} people."
    arguments = event.arguments if isinstance(event.arguments, dict) else {"preview": event.arguments.preview}
    return id, "approval", (
        f"An approval is needed: {event.tool} (risk: {event.risk})\n"
        f"{_shorten(orjson.dumps(arguments).decode(), _ARGUMENTS)}\n"
        f"{_shorten(event.why, 500)}{more}\n"
        f"Session {draft.session}, run {draft.run}\n"
        f"To allow it: kheish approvals allow {id}\n"
        f"To deny it: kheish approvals deny {id}"
    )  # fmt: skip


def _question(event: Any, draft: Draft) -> _Said:
    id, lines = event.question_id, []
    items = [{"id": one.id, "options": [{"id": option.id} for option in one.options]} for one in event.questions]
    for item in event.questions:
        lines.append(f"{item.id}: {_shorten(item.text, 600)}")
        lines += [f"  {option.id}) {_shorten(option.label, 200)}" for option in item.options]
    asked = "\n".join(lines)
    return id, "question", (
        f"A question waits for an answer:\n{asked}\n"
        f"Session {draft.session}, run {draft.run or event.run_id}\n"
        f"To answer it, for example: {answer_command({'question_id': id, 'questions': items})}\n"
        f"To decline it: kheish questions decline {id}"
    )  # fmt: skip


def _failure(event: Any, draft: Draft) -> _Said:
    return f"failed_{draft.run}", "failure", (
        f"A run failed: {event.error.code}\n{_shorten(event.error.message, 1500)}\n"
        f"Session {draft.session}, run {draft.run}\n"
        f"To look at it: kheish runs show {draft.run}\n"
        f"To retry it: kheish runs retry {draft.run}"
    )  # fmt: skip


_ANNOUNCED: Mapping[type[Event], Callable[[Any, Draft], _Said]] = {
    events.ApprovalRequested: _approval,
    events.QuestionAsked: _question,
    events.RunFailed: _failure,
}
_CAUSES = frozenset({events.OutputEmitted, *_ANNOUNCED})


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
