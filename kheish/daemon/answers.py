"""Answers by file: what a person wrote into `pending/` resolves the approval or the question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from kheish.daemon.problems import Problems
from kheish.domain import approvals, questions
from kheish.domain.approvals import Approval
from kheish.domain.questions import Question
from kheish.domain.state import State
from kheish.errors import ApprovalResolved, Invalid, KheishError, NotFound, QuestionResolved
from kheish.store import definitions, files
from kheish.store.definitions import Parsed
from kheish.store.problems import Problem

BY = "file"  # an answer by file proves no person


class ApprovalForm(BaseModel):
    """A pending approval's file: the request, and the two lines that a person fills in."""

    model_config = ConfigDict(extra="forbid")
    approval_id: str
    session_id: str
    run_id: str
    tool: str
    arguments: dict[str, Any]
    why: str
    requested_at: str
    decision: str | None = None
    reason: str | None = None


class QuestionForm(BaseModel):
    """A pending question's file: the request, and the answers."""

    model_config = ConfigDict(extra="forbid")
    question_id: str
    session_id: str
    run_id: str
    status: str
    questions: list[dict[str, Any]]
    asked_at: str
    expires_at: str | None = None
    answers: dict[str, Any] | None = None
    decline: str | None = None


class Answers:
    """Takes answers up. `rewrite(noun, id)` has a file written again that somebody removed while it is pending."""

    def __init__(self, state: State, problems: Problems, *, rewrite: Callable[[str, str], None]) -> None:
        self._state = state
        self._problems = problems
        self._rewrite = rewrite

    async def start(self) -> None:
        """What was answered while no daemon ran."""
        paths = await asyncio.to_thread(lambda: frozenset(_present(self._state.root)))
        await self.take(paths)

    async def take(self, paths: frozenset[str]) -> None:
        """Files under `pending/` have settled. Raises StoreFailed."""
        for path in sorted(paths):
            kind, _, name = path.removeprefix("pending/").partition("/")
            if kind in ("approvals", "questions") and name.endswith(".yaml"):
                await self._one(kind, name.removesuffix(".yaml"), path)

    async def _one(self, kind: str, id: str, path: str) -> None:
        try:
            raw = await asyncio.to_thread(files.contained(self._state.root, path).read_bytes)
        except FileNotFoundError:
            self._problems.replace(path, [])
            await self._missing(kind, id)
            return
        except Invalid as error:
            self._refuse(path, "bad_value", error.detail)
            return
        try:
            problems = await (self._approval(id, raw, path) if kind == "approvals" else self._question(id, raw, path))
        except (ApprovalResolved, QuestionResolved, NotFound) as error:
            problems = [_problem(path, error.code, error.detail)]
        except Invalid as error:
            problems = [_problem(path, "bad_value", fault.message) for fault in error.errors] or [
                _problem(path, "bad_value", error.detail)
            ]
        self._problems.replace(path, problems)

    async def _missing(self, kind: str, id: str) -> None:
        """A deleted file whose request is still pending is written again."""
        noun, cls = ("approval", Approval) if kind == "approvals" else ("question", Question)
        doc = await self._state.recall(cls, id)
        if doc is not None and doc["status"] == "pending":
            try:
                await self._state.load_for(cls, id)
            except KheishError:
                return
            self._rewrite(noun, id)

    def _refuse(self, path: str, code: str, message: str) -> None:
        self._problems.replace(path, [_problem(path, code, message)])

    async def _approval(self, id: str, raw: bytes, path: str) -> list[Problem]:
        parsed = definitions.parse(ApprovalForm, raw, path)
        form = parsed.value
        if form is None:
            return parsed.problems
        late = await self._state.load_for(Approval, id)
        if form.decision is None and late is None:
            return _foreign(parsed, approvals.view(self._state.get(Approval, id)), ("decision", "reason"))
        if late is not None:
            raise approvals.late(late)
        approval = self._state.get(Approval, id)
        changed = _foreign(parsed, self._state.document(_noun(Approval), approval), ("decision", "reason"))
        if form.decision not in ("allow", "deny"):
            return [*changed, parsed.at(("decision",), f"write allow or deny, not {form.decision!r}")]
        if changed:
            return changed
        decision: Any = form.decision
        approvals.resolve(self._state, id, decision, by=BY, via="file", reason=form.reason)
        await self._state.durable()
        return []

    async def _question(self, id: str, raw: bytes, path: str) -> list[Problem]:
        parsed = definitions.parse(QuestionForm, raw, path)
        form = parsed.value
        if form is None:
            return parsed.problems
        late = await self._state.load_for(Question, id)
        if late is not None:
            raise questions.late(late)
        given = {key: value for key, value in (form.answers or {}).items() if value is not None}
        question = self._state.get(Question, id)
        changed = _foreign(parsed, self._state.document(_noun(Question), question), ("answers", "decline"))
        if changed or (not given and not form.decline):
            return changed
        if form.decline:
            questions.decline(self._state, id, by=BY, via="file", reason=form.decline)
        else:
            answers = {key: _answer(value) for key, value in given.items()}
            try:
                questions.answer(self._state, id, answers, by=BY, via="file")
            except Invalid as error:
                return [parsed.at(tuple(fault.path.split("/")[1:]), fault.message) for fault in error.errors]
        await self._state.durable()
        return []


def _present(root: Path) -> list[str]:
    return [f"pending/{kind}/{path.name}" for kind in ("approvals", "questions")
            for path in (root / "pending" / kind).glob("*.yaml")]  # fmt: skip


def _noun(cls: type) -> Any:
    from kheish.domain.tables import BY_CLASS

    return BY_CLASS[cls]


def _answer(value: Any) -> dict[str, Any]:
    """An option id, a list of them, or `{text: …}` (with `selected` where both)."""
    match value:
        case dict():
            return {"selected": value.get("selected") or [], "text": value.get("text")}
        case list():
            return {"selected": [str(item) for item in value], "text": None}
        case _:
            return {"selected": [str(value)], "text": None}


def _foreign(parsed: Parsed[Any], asked: Mapping[str, Any], own: tuple[str, ...]) -> list[Problem]:
    """Keys that are the daemon's, and were changed."""
    data = parsed.data or {}
    return [
        parsed.at((key,), f"{key} is the daemon's to write; put it back as it was, and only fill in the end")
        for key, value in data.items()
        if key not in own and key in asked and value != asked[key]
    ]


def _problem(path: str, code: str, message: str) -> Problem:
    return Problem(path, None, None, "error", code, message)
