"""Runs and Flows as far as they are alike: started, working, waiting for a user, ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kheish.client import requests
from kheish.errors import Invalid
from kheish.protocols import dialogs
from kheish.protocols.access import Access
from kheish.protocols.dialogs import Form, NotShown

if TYPE_CHECKING:
    from kheish.client.shapes import FlowView, RunView

RUN, FLOW = "run_", "flow_"
#: `blocked`: what a user has to do next has no form, such as attaching evidence
Stage = Literal["working", "waiting", "blocked", "completed", "failed", "cancelled"]

_RUN_STAGES: Mapping[str, Stage] = {
    "waiting_for_approval": "waiting",
    "waiting_for_question": "waiting",
    "completed": "completed",
    "failed": "failed",
    "interrupted": "failed",
    "cancelled": "cancelled",
}
_FLOW_STAGES: Mapping[str, Stage] = {
    "waiting": "waiting",
    "blocked": "blocked",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
_RUN_FIELDS = (
    "run_id", "session_id", "status", "submitted_at", "started_at", "finished_at", "queue_position", "route", "model",
    "output", "outputs", "error", "pending_approvals", "pending_questions", "waits_for", "usage", "flow", "n",
)  # fmt: skip
_FLOW_FIELDS = (
    "flow_id", "playbook", "version", "title", "session_id", "status", "reason", "inputs", "phases", "evidence",
    "missing", "approvals", "runs", "outputs", "usage", "started_at", "finished_at", "n",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A run or a Flow. `doc` is what clients read, `approvals` and `questions` are the ids of what is open."""

    id: str
    stage: Stage
    status: str
    began: str
    changed: str
    doc: Mapping[str, Any]
    approvals: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Return whether it has ended."""
        return self.stage in ("completed", "failed", "cancelled")

    @property
    def summary(self) -> str:
        """The state in a few words."""
        usage = self.doc["usage"]
        parts = [self.status.replace("_", " ")]
        parts += [f"{usage['model_calls']} model calls, {usage['tool_calls']} tool calls"] if usage else []
        return ", ".join(parts)


def run_doc(run: Any) -> dict[str, Any]:
    """Return a run without its settings and request."""
    return _shown(run, _RUN_FIELDS)


def flow_doc(flow: Any) -> dict[str, Any]:
    """Return a Flow without its plan."""
    return _shown(flow, _FLOW_FIELDS)


def _shown(doc: Any, fields: Sequence[str]) -> dict[str, Any]:
    """Return some fields of a document; its usage without the shares of agents."""
    shown = {name: doc[name] for name in fields if name in doc}
    if isinstance(usage := shown.get("usage"), Mapping):
        shown["usage"] = {name: value for name, value in usage.items() if name not in ("own", "subtree")}
    return shown


async def read(access: Access, id: str, wait: float = 0.0) -> Work:
    """Return a run or a Flow, after at most `wait` seconds until it ends or waits.

    Raises the errors of its operation; Invalid for another id.
    """
    patience = f"{int(wait * 1000)}ms" if wait > 0 else None
    if id.startswith(RUN):
        return of_run(await access.send(requests.get_run(id, wait=patience)))
    if id.startswith(FLOW):
        return await _of_flow(access, await access.send(requests.get_flow(id, wait=patience)))
    raise _no_id(id)


async def cancel(access: Access, id: str, reason: str | None) -> None:
    """Stop a run or a Flow for good. Raises as `read`."""
    if id.startswith(RUN):
        await access.send(requests.cancel_run(id, reason))
    elif id.startswith(FLOW):
        await access.send(requests.cancel_flow(id, reason))
    else:
        raise _no_id(id)


def _no_id(id: str) -> Invalid:
    return Invalid(f"{id!r} is no id of a run (run_…) or a Flow (flow_…).")


def of_run(run: RunView) -> Work:
    """Return a run."""
    status = run["status"]
    return Work(
        id=run["run_id"],
        stage=_RUN_STAGES.get(status, "working"),
        status=status,
        began=run["submitted_at"],
        changed=run["finished_at"] or run["started_at"] or run["submitted_at"],
        doc=run_doc(run),
        approvals=tuple(run["pending_approvals"]),
        questions=tuple(run["pending_questions"]),
    )


async def _of_flow(access: Access, flow: FlowView) -> Work:
    """Return a Flow; the questions of its runs are found in its session."""
    work = of_flow(flow)
    if work.stage != "waiting":
        return work
    page = await access.send(requests.list_questions(session=flow["session_id"], status="pending"))
    own = {run["run_id"] for run in flow["runs"]}
    questions = tuple(one["question_id"] for one in page["items"] if one["run_id"] in own)
    return Work(**{name: getattr(work, name) for name in Work.__slots__} | {"questions": questions})


def of_flow(flow: FlowView) -> Work:
    """Return a Flow, without the questions of its runs."""
    status = flow["status"]
    return Work(
        id=flow["flow_id"],
        stage=_FLOW_STAGES.get(status, "working"),
        status=status,
        began=flow["started_at"],
        changed=flow["finished_at"] or flow["started_at"],
        doc=flow_doc(flow),
        approvals=tuple(one["approval_id"] for one in flow["approvals"] if one["status"] == "pending"),
    )


@dataclass(frozen=True, slots=True)
class Open:
    """The forms of pending decisions, and why others have none."""

    forms: tuple[Form, ...] = ()
    notes: tuple[str, ...] = ()


async def decisions(
    access: Access, work: Work, *, titled: bool = True, faults: Mapping[str, str] | None = None
) -> Open:
    """Return the forms of all that the work waits for. `faults`: what was wrong with earlier answers, by form."""
    forms: list[Form] = []
    notes: list[str] = []
    known = faults or {}
    for id in work.approvals:
        approval = await access.send(requests.get_approval(id))
        if approval["status"] == "pending":
            _add(forms, notes, lambda one=approval, id=id: dialogs.of_approval(one, known.get(id)))
    for id in work.questions:
        question = await access.send(requests.get_question(id))
        if question["status"] == "pending":
            _add(forms, notes, lambda one=question, id=id: dialogs.of_question(one, known.get(id), titled=titled))
    return Open(tuple(forms), tuple(notes))


def _add(forms: list[Form], notes: list[str], make: Any) -> None:
    try:
        forms.append(make())
    except NotShown as why:
        notes.append(str(why))


async def decide(access: Access, form: Form, content: Mapping[str, Any], *, via: str = "mcp") -> None:
    """Send the answer that a user gave in a form. Raises ValueError with what is wrong with it; the errors of the
    operation, for example when another user was first."""
    if form.key.startswith("appr_"):
        now = await access.send(requests.get_approval(form.key))
        if now["digest"] != form.bound:
            raise ValueError("the call has changed since the form was shown")
        await access.send(dialogs.resolve(form.key, content, via=via))
        return
    asked = await access.send(requests.get_question(form.key))
    try:
        await access.send(dialogs.answer(asked, content, via=via))
    except Invalid as error:
        raise ValueError(error.detail) from error
