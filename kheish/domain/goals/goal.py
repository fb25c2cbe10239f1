"""A session's goal: what the daemon pursues by runs of its own while the session is idle. There is one at most."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from kheish import ids
from kheish.domain import completion, events
from kheish.domain.events import Entry, GoalBudget, GoalPurpose, Requirement, changed, frozen
from kheish.domain.goals.counting import Usage, charge, charged
from kheish.domain.runs import Run
from kheish.domain.runs.run import is_unattended
from kheish.domain.sessions.session import Session
from kheish.domain.shown import View
from kheish.state.noun import Noun, Tables, always

if TYPE_CHECKING:
    from kheish.state.state import State

Status = Literal["active", "paused", "budget_limited", "complete", "cleared"]
#: statuses in which a goal may still be pursued
OPEN = frozenset({"active", "paused", "budget_limited"})
#: tools about the goal itself: their calls are no work
TOOLS = frozenset({"get_goal", "create_goal", "update_goal"})
#: seconds until the run after a failed one: the first, the factor of each further one, and the longest
BACKOFF, FACTOR, LONGEST = 60.0, 4.0, 3600.0
RUNS = 20  # run ids that a goal shows
ERROR_CHARACTERS = 2000


@frozen
class OpenRun:
    """The run of a goal that has not ended."""

    run_id: str
    purpose: GoalPurpose
    used_tool: bool = False
    has_declared: bool = False


@frozen
class Goal:
    """A goal as recorded in the journal. `idle` are runs without progress in a row, `failures` failed ones in a row."""

    goal_id: str
    session_id: str
    objective: str
    completion: tuple[Requirement, ...]
    checks_ask: bool
    budget: GoalBudget
    status: Status
    set_by: str
    created_at: str
    made: int
    n: int
    why: str | None = None
    next: str | None = None
    wait_until: str | None = None
    usage: Usage = Usage()
    run: OpenRun | None = None
    number: int = 0  # runs so far
    runs: tuple[str, ...] = ()  # the newest of them
    idle: int = 0
    failures: int = 0
    retry_at: float | None = None
    last_error: str | None = None
    stopped: str | None = None  # a person ended its run: cancelled | interrupted
    claim: str | None = None  # the run in which the agent claimed that it is complete
    claim_why: str | None = None  # its words
    is_confirmed: bool = False  # the claim is checked
    question_id: str | None = None  # asks a person how to continue
    note: str | None = None  # what that person answered, for the next run
    completed_at: str | None = None
    unattended: bool = False  # no person attends the run that set it
    since: int = 0  # the entry that set the objective, or the one of the run in which an agent did

    @property
    def is_resting(self) -> bool:
        """Whether its next run waits for a time."""
        return self.status == "active" and (self.wait_until is not None or self.retry_at is not None)

    @property
    def limit(self) -> str | None:
        """The name of the first limit that is used up."""
        return self.usage.reached(self.budget)


_CHARGED = (events.ModelResponded, events.ModelFailed, events.ContextCompacted, events.ChildSettled)
_CLOCK = (events.RunStarted, events.RunResumed, events.RunWaiting)
_ENDS = (events.RunCompleted, events.RunFailed, events.RunCancelled, events.RunInterrupted)
#: entries that determine whether, and from when, the next run may begin
DECISIONS = (
    events.GoalSet,
    events.GoalPaused,
    events.GoalResumed,
    events.GoalDeclared,
    events.GoalContinued,
    events.GoalDelayed,
    events.GoalLimited,
    events.GoalCompleted,
    events.GoalCleared,
    events.QuestionAnswered,
)
FOLDED = (
    *DECISIONS,
    events.GoalUpdated,
    events.SessionEnded,
    events.ToolStarted,
    *_CHARGED,
    *_CLOCK,
    *_ENDS,
)


def fold(tables: Tables, entry: Entry) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    table: dict[str, Goal] = tables[Goal]
    old = table.get(entry.session)
    if isinstance(entry.event, events.GoalSet):
        table[entry.session] = _fold_set(old, entry.event, entry, tables)
        return (entry.session,)
    if old is None or (old.status not in OPEN and not isinstance(entry.event, events.GoalCleared)):
        return ()
    fields = _fold_change(old, entry, tables)
    if not fields:
        return ()  # most steps of a run change nothing here, and so cost the index nothing
    table[entry.session] = changed(old, n=entry.n, **fields)
    return (entry.session,)


_FRESH = {"idle": 0, "failures": 0, "retry_at": None, "stopped": None, "question_id": None}
_UNCLAIMED = {"claim": None, "claim_why": None, "is_confirmed": False}


def _fold_set(old: Goal | None, event: events.GoalSet, entry: Entry, tables: Tables) -> Goal:
    given: dict[str, Any] = {"objective": event.objective, "completion": event.completion, "budget": event.budget,
                             "checks_ask": event.checks_ask, "set_by": entry.actor, "status": "active",
                             "n": entry.n, "unattended": is_unattended(tables[Run], entry)}  # fmt: skip
    own = tables[Run].get(entry.run or "")
    if old is None or (old.goal_id, old.objective) != (event.goal_id, event.objective):
        given["since"] = own.made if own is not None else entry.n
    if old is not None and old.goal_id == event.goal_id:
        return changed(old, **given, **_FRESH, **_UNCLAIMED, why=None, next=None, wait_until=None)
    active = tables[Run].get(tables[Session][entry.session or ""].active or "")
    works = active is not None and active.running_since is not None  # the run in which an agent sets its goal
    usage = Usage(running_since=entry.at if works else None)
    return Goal(goal_id=event.goal_id, session_id=entry.session or "", created_at=entry.at, made=entry.n,
                usage=usage, **given)  # fmt: skip


def _fold_change(old: Goal, entry: Entry, tables: Tables) -> dict[str, Any]:
    match entry.event:
        case events.GoalUpdated() as event:
            names = ("objective", "completion", "budget")
            given: dict[str, Any] = {name: value for name in names if (value := getattr(event, name)) is not None}
            if event.completion is not None:
                given["checks_ask"] = False  # a user wrote the requirement
            if event.objective is not None:
                given["since"] = entry.n
            return given if given.keys() <= {"budget"} else {**given, **_UNCLAIMED}
        case events.GoalPaused(why=why, question_id=question_id):
            return {"status": "paused", "why": why, "question_id": question_id}
        case events.GoalResumed():
            return {"status": "active", "why": None, "wait_until": None, **_FRESH}
        case events.GoalDeclared() as event:
            return _fold_declared(old, event, entry.run)
        case events.GoalContinued(number=number, run_id=run_id, purpose=purpose):
            run = OpenRun(run_id=run_id, purpose=purpose)
            return {"run": run, "number": number, "runs": (*old.runs, run_id)[-RUNS:], "wait_until": None}
        case events.GoalDelayed(error=error):
            return _fold_failed(old, error, entry.at)
        case events.GoalLimited(limit=limit):
            return {"status": "budget_limited", "why": limit}
        case events.GoalCompleted(why=why):
            return {"status": "complete", "why": why, "completed_at": entry.at, "wait_until": None}
        case events.GoalCleared():
            return {"status": "cleared", "why": None, "wait_until": None, "run": None}
        case events.SessionEnded() if old.status == "active":
            return {"status": "paused", "why": "session_ended"}
        case events.QuestionAnswered(question_id=id) as event if id == old.question_id:
            return _fold_answer(event, is_over=tables[Session][entry.session or ""].ended_at is not None)
        case _:
            return _fold_work(old, entry, tables)


def _fold_declared(old: Goal, event: events.GoalDeclared, run: str | None) -> dict[str, Any]:
    if event.status == "complete":
        return {"claim": run, "claim_why": event.why, "is_confirmed": False, **_declare(old, run)}
    # The same step once more is no news: a model that repeats itself makes no progress.
    is_news = _step(event.next) != _step(old.next) or event.wait_until is not None
    said = {"next": event.next, "wait_until": event.wait_until, **_UNCLAIMED}
    return {**said, **(_declare(old, run) if is_news else {})}


def _step(text: str | None) -> str:
    """Return the words of a step: the same with another full stop or capital is the same step."""
    return " ".join(re.findall(r"\w+", (text or "").casefold())) or (text or "").strip()


def _declare(old: Goal, run: str | None) -> dict[str, Any]:
    return {"run": changed(old.run, has_declared=True)} if old.run is not None and old.run.run_id == run else {}


def _fold_answer(event: events.QuestionAnswered, *, is_over: bool) -> dict[str, Any]:
    """Return what a person's answer changes: to continue, or to leave the goal paused."""
    given: dict[str, Any] = next(iter((event.answers or {}).values()), {})
    selected, text = given.get("selected") or [], given.get("text")
    if event.outcome != "answered" or "b" in selected or is_over:
        return {"question_id": None}
    return {"status": "active", "why": None, "wait_until": None, "note": text, **_FRESH}


def _fold_work(old: Goal, entry: Entry, tables: Tables) -> dict[str, Any]:
    """Return what a step of a run changes: usage, and the progress of the goal's own run."""
    event, is_own = entry.event, old.run is not None and old.run.run_id == entry.run
    if isinstance(event, events.ToolStarted):
        assert old.run is not None or not is_own
        if not is_own or old.run is None or old.run.used_tool or not _is_work(event):
            return {}
        return {"run": changed(old.run, used_tool=True)}
    counts = is_own or old.status != "paused"
    if isinstance(event, _CHARGED):
        return {"usage": charged(old.usage, event)} if counts else {}
    if isinstance(event, _CLOCK + _ENDS):
        usage = charge(old.usage, event, entry.at, counts=counts)
        same = {} if usage == old.usage else {"usage": usage}
        return {**same, **(_fold_end(changed(old, usage=usage), entry, tables) if isinstance(event, _ENDS) else {})}
    return {}


def _is_work(event: events.ToolStarted) -> bool:
    """Return whether a call is the agent's own work."""
    return event.tool not in TOOLS and not completion.is_check(event.call_id)


def _fold_end(old: Goal, entry: Entry, tables: Tables) -> dict[str, Any]:
    run, own = tables[Run].get(entry.run or ""), old.run if old.run and old.run.run_id == entry.run else None
    fields: dict[str, Any] = {}
    is_checked = old.claim is not None and (entry.run == old.claim or (own is not None and own.purpose == "check"))
    if is_checked and isinstance(entry.event, events.RunCompleted):
        met = not old.completion or (run is not None and run.settings.completion == old.completion)
        fields |= {"is_confirmed": met}
    elif is_checked:
        fields |= _UNCLAIMED
    if own is None:
        return fields
    fields |= {"run": None, "note": None}
    match entry.event:
        case events.RunCompleted():
            # A run that uses up the budget is followed by the wrap-up, whatever it did.
            moved = own.used_tool or own.has_declared or own.purpose != "work"
            # A claim that is still to be checked proves nothing: else one that is always false would go on for ever.
            failures = old.failures if fields.get("is_confirmed") is False else 0
            return {
                **fields, "idle": 0 if moved else old.idle + 1, "failures": failures, "retry_at": None,
                "last_error": None,
            }  # fmt: skip
        case events.RunFailed(error=error):
            return fields if old.limit else {**fields, **_fold_failed(old, f"{error.code}: {error.message}", entry.at)}
        case events.RunCancelled():
            return {**fields, "stopped": "cancelled"}
        case _:
            return {**fields, "stopped": "interrupted"}


def _fold_failed(old: Goal, error: str, at: str) -> dict[str, Any]:
    wait = min(BACKOFF * FACTOR**old.failures, LONGEST)
    retry_at = ids.seconds_of(at) + wait
    return {"failures": old.failures + 1, "retry_at": retry_at, "last_error": error[:ERROR_CHARACTERS]}


# --- the view ---------------------------------------------------------------------------------------------------------


@frozen
class GoalUsage(View):
    """The usage of a goal: its own runs, the session's other runs while it is not paused, and their agents."""

    tokens: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """Null if no route has a price."""
    wall_time: float
    """The seconds in which runs worked, up to the last one that ended or began to wait."""


@frozen
class GoalView(View):
    """The goal of a session."""

    goal_id: str
    session_id: str
    objective: str
    status: Status
    """`cleared` occurs only in the Record of a goal that was removed."""
    why: str | None
    """The reason of a pause or a limit: `no_progress`, `failures`, `cancelled`, `interrupted`, `restored`, `restart`,
    `session_ended`, the name of a limit, or a person's or the agent's own words; of a complete goal, the agent's."""
    next: str | None
    """The next step that the agent has declared."""
    wait_until: str | None
    """The time that the agent waits for."""
    budget: GoalBudget
    usage: GoalUsage
    completion: tuple[str | dict[str, Any], ...]
    """The requirement: the goal is complete when the agent claims it, and this is met."""
    checks_ask: bool
    """Whether an agent wrote `completion`, so that its commands are subject to the rules."""
    run_id: str | None
    """Its run that has not ended."""
    runs: tuple[str, ...]
    """Its newest runs, oldest first."""
    continuations: int
    """The number of its runs."""
    idle_runs: int
    """Runs without progress, in a row."""
    failures: int
    """Failed runs, in a row."""
    retry_at: str | None
    """The time of the next run after a failed one."""
    last_error: str | None
    is_claimed: bool
    """Whether the agent claims that it is complete, and the requirement is not checked yet."""
    question_id: str | None
    """The question that asks a person how to continue."""
    set_by: str
    created_at: str
    completed_at: str | None
    n: int


def view(goal: Goal) -> GoalView:
    """Return the goal as the API and its Record show it."""
    used = goal.usage.spent
    same = ("goal_id", "session_id", "objective", "status", "next", "wait_until", "budget", "checks_ask", "runs",
            "failures", "last_error", "question_id", "set_by", "created_at", "completed_at", "n")  # fmt: skip
    return GoalView(
        **{name: getattr(goal, name) for name in same},
        usage=GoalUsage(
            tokens=used.input_tokens + used.output_tokens,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
            wall_time=round(goal.usage.seconds, 3),
        ),
        why=goal.why if goal.why is not None else goal.claim_why,
        completion=tuple(completion.written(one) for one in goal.completion),
        run_id=goal.run.run_id if goal.run is not None else None,
        continuations=goal.number,
        idle_runs=goal.idle,
        retry_at=ids.stamp(goal.retry_at) if goal.retry_at is not None else None,
        is_claimed=goal.claim is not None and goal.status in OPEN,
    )


NOUN = Noun(
    name="goal",
    cls=Goal,
    folded=frozenset(FOLDED),
    fold=fold,
    keep=always,
    view=view,
    record="goal.yaml",
)


def find(state: State, session_id: str) -> Goal | None:
    """Return the goal of a loaded session, if it has one."""
    goal = state.find(Goal, session_id)
    return goal if goal is not None and goal.status != "cleared" else None
