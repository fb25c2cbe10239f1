"""Questions: an agent's questions to a user, 1 to 4 at a time, each with options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kheish.domain import approvals, events, keys, runs
from kheish.domain.events import Draft, Entry, QuestionItem, changed, frozen
from kheish.domain.keys import Key
from kheish.domain.shown import View
from kheish.errors import Fault, Invalid, QuestionResolved
from kheish.state import encoding
from kheish.state.noun import Noun

if TYPE_CHECKING:
    from kheish.state.state import State

Status = Literal["pending", "answered", "declined", "expired", "cancelled"]
#: purposes of questions whose answer no run waits for: the run that they are about has ended
OF_NO_RUN = frozenset({events.GOAL_QUESTION, events.PROJECT_TASK})


@frozen
class Question:
    """A set of questions as recorded in the journal. The `purpose` `ambiguous` asks what happened to a call, `goal` how
    to continue with a session's goal, `project_task` with a task: no run waits for that, and the run it is about has
    ended."""

    question_id: str
    session_id: str
    run_id: str
    call_id: str
    questions: tuple[QuestionItem, ...]
    purpose: str
    asked_at: str
    expires_at: str | None
    made: int
    n: int
    status: Status = "pending"
    answers: dict[str, Any] | None = None
    answered_by: str | None = None
    answered_at: str | None = None
    reason: str | None = None


FOLDED = (events.QuestionAsked, events.QuestionAnswered)


def fold(table: dict[str, Question], entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    match entry.event:
        case events.QuestionAsked() as event:
            run_id = entry.run or event.run_id
            assert entry.session and run_id
            table[event.question_id] = Question(
                question_id=event.question_id,
                session_id=entry.session,
                run_id=run_id,
                call_id=event.call_id,
                questions=event.questions,
                purpose=event.purpose,
                asked_at=entry.at,
                expires_at=event.expires_at,
                made=entry.n,
                n=entry.n,
            )
            return (event.question_id,)
        case events.QuestionAnswered() as event if event.question_id in table:
            table[event.question_id] = changed(
                table[event.question_id],
                status=event.outcome,
                answers=event.answers,
                answered_by=event.by,
                answered_at=entry.at,
                reason=event.reason,
                n=entry.n,
            )
            return (event.question_id,)
        case _:
            return ()


@frozen
class QuestionView(View):
    """A question of an agent, with one or more items."""

    question_id: str
    session_id: str
    run_id: str
    status: Status
    purpose: str = "tool"
    """`tool`; `ambiguous`: the daemon asks what happened to a call; `goal`, `project_task`: how to continue with the
    session's goal, or with a task of a project; `elicitation`: an MCP server asks."""
    questions: tuple[QuestionItem, ...]
    asked_at: str
    expires_at: str | None
    answers: dict[str, Any] | None
    answered_by: str | None = None
    answered_at: str | None = None
    reason: str | None = None


def view(question: Question) -> QuestionView:
    """Return the question as the API and its Record show it (`shapes.md`)."""
    return QuestionView(
        question_id=question.question_id,
        session_id=question.session_id,
        run_id=question.run_id,
        status=question.status,
        purpose=question.purpose,
        questions=question.questions,
        asked_at=question.asked_at,
        expires_at=question.expires_at,
        answers=question.answers,
        answered_by=question.answered_by,
        answered_at=question.answered_at,
        reason=question.reason,
    )


NOUN = Noun(
    name="question",
    cls=Question,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Question], entry),
    keep=lambda question: question.status == "pending",
    view=view,
    record="questions/{id}.yaml",
    filters=("run_id",),
    pending="questions",
)


def answer(
    state: State,
    question_id: str,
    answers: Mapping[str, Mapping[str, Any]],
    *,
    by: str,
    via: str,
    key: Key | None = None,
    beside: Sequence[Draft] = (),
) -> Question:
    """Record the answers: `{item id: {"selected": [option id], "text": … | None}}`, one per item, with the drafts in
    `beside`.

    Raises NotFound, QuestionResolved, Invalid naming each wrong or missing answer.
    """
    question = _pending(state, question_id)
    faults = [fault for item in question.questions for fault in _faults(item, answers.get(item.id))]
    known = {item.id for item in question.questions}
    faults += [Fault(f"/answers/{id}", "no such question") for id in answers if id not in known]
    if faults:
        listed = "; ".join(f"{fault.path.rsplit('/', 1)[-1]}: {fault.message}" for fault in faults)
        raise Invalid(f"The answers do not fit the question: {listed}.", errors=faults)
    full = {
        id: {"selected": list(given.get("selected") or []), "text": given.get("text")} for id, given in answers.items()
    }
    event = events.QuestionAnswered(
        question_id=question_id, outcome="answered", answers=full, by=by, via=via, idempotency=keys.sent(key)
    )
    _conclude(state, question, event, beside)
    return state.get(Question, question_id)


def decline(
    state: State, question_id: str, *, by: str, via: str, reason: str | None, key: Key | None = None
) -> Question:
    """Decline to answer. Raises NotFound, QuestionResolved."""
    question = _pending(state, question_id)
    event = events.QuestionAnswered(
        question_id=question_id, outcome="declined", by=by, via=via, reason=reason, idempotency=keys.sent(key)
    )
    _conclude(state, question, event)
    return state.get(Question, question_id)


def withdraw(state: State, question_id: str) -> None:
    """End a question that no call waits for any more. Raises NotFound, QuestionResolved."""
    _conclude(
        state, _pending(state, question_id), events.QuestionAnswered(question_id=question_id, outcome="cancelled")
    )


def expire(state: State, now: str) -> list[str]:
    """Expire questions that waited too long; return their ids."""
    due = [
        question
        for question in state.loaded(Question)
        if question.status == "pending" and question.expires_at and question.expires_at <= now
    ]
    for question in due:
        _conclude(state, question, events.QuestionAnswered(question_id=question.question_id, outcome="expired"))
    return [question.question_id for question in due]


def _pending(state: State, question_id: str) -> Question:
    question = state.get(Question, question_id)
    if question.status != "pending":
        raise late(encoding.plain(view(question)))
    return question


def late(view: Mapping[str, Any]) -> QuestionResolved:
    """Return the error for a late answer."""
    return QuestionResolved(
        f"The question {view['question_id']} was {view['status']} by {view['answered_by']}; nothing was changed.",
        decided_by=view["answered_by"],
    )


def _conclude(state: State, question: Question, event: events.QuestionAnswered, beside: Sequence[Draft] = ()) -> None:
    if question.purpose in OF_NO_RUN:
        state.append(event.on(question.session_id, by=event.by), *beside)
        return
    drafts = [*beside, event.on(question.session_id, question.run_id, by=event.by)]
    if approvals.settles(state, question.run_id, {question.question_id}):
        drafts.append(runs.step(state, question.run_id, events.RunRequeued(reason="question"), by=event.by))
    state.append(*drafts)


def _faults(item: QuestionItem, given: Mapping[str, Any] | None) -> Iterable[Fault]:
    where = f"/answers/{item.id}"
    if given is None:
        yield Fault(where, "has no answer")
        return
    selected, text = given.get("selected") or [], given.get("text")
    options = [option.id for option in item.options]
    for choice in selected:
        if choice not in options:
            yield Fault(where, f"{choice!r} is not one of {', '.join(options)}")
    if len(selected) > 1 and not item.multi_select:
        yield Fault(where, "takes one option, not several")
    if len(set(selected)) < len(selected):
        yield Fault(where, "names an option twice")
    if text and not item.free_text:
        yield Fault(where, "takes no free text; choose an option")
    if not selected and not text:
        yield Fault(where, "is empty")


def told(answer: events.QuestionAnswered, question: Question | None) -> tuple[str, bool]:
    """Return the answers in words for the model, and whether they are an error (unanswered)."""
    if answer.outcome != "answered":
        reason = f" Reason: {answer.reason}" if answer.reason else ""
        return f"The question was {answer.outcome}; there is no answer.{reason}", True
    items = {item.id: item for item in question.questions} if question else {}
    lines = []
    for id, given in (answer.answers or {}).items():
        item = items.get(id)
        labels = {option.id: option.label for option in item.options} if item else {}
        chosen = [labels.get(choice, choice) for choice in given.get("selected") or []]
        text = ", ".join(chosen) + (f" ({given['text']})" if chosen and given.get("text") else given.get("text") or "")
        lines.append(f"{item.header if item else id}: {text}")
    return "\n".join(lines), False
