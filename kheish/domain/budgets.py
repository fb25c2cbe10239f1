"""Budgets: spending by session, route and day, and the check that one more model call fits the limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kheish import ids
from kheish.domain import events
from kheish.domain.agents import usage
from kheish.domain.agents.agent import Agent
from kheish.domain.events import Entry, changed, frozen
from kheish.domain.flows import view as flow_view
from kheish.domain.flows.flow import Flow
from kheish.domain.goals.goal import Goal
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.domain.spent import NOTHING, total
from kheish.domain.turns import Turn
from kheish.state.noun import Noun, always

if TYPE_CHECKING:
    from kheish.state.state import State


@frozen
class Spend:
    """The spending of one session on one route on one UTC day, by the project that its runs worked for, and by the
    Playbook of their Flow."""

    spend_id: str
    session_id: str
    route: str
    day: str
    made: int
    n: int
    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False
    project: str | None = None
    playbook: str | None = None


FOLDED = (events.ModelResponded, events.ModelFailed, events.ContextCompacted)


def fold(table: dict[str, Spend], entry: Entry, runs: Mapping[str, Run], flows: Mapping[str, Flow]) -> Iterable[str]:
    """Fold an entry into the table and return the ids that changed."""
    assert entry.session is not None
    event = entry.event
    if not isinstance(event, FOLDED) or (isinstance(event, events.ModelFailed) and event.usage == events.Usage()):
        return ()
    route = "compaction" if isinstance(event, events.ContextCompacted) else event.route
    day = ids.day(entry.at)
    run = runs.get(entry.run or "")
    project = run.project if run is not None else None
    flow = flows.get(run.flow["flow_id"]) if run is not None and run.flow else None
    playbook = flow.playbook if flow is not None else None
    id = f"{entry.session}/{day}/{route}" + (f"/{project}" if project is not None else "")
    id += f"@{playbook}" if playbook is not None else ""
    old = table.get(id) or Spend(spend_id=id, session_id=entry.session, route=route, day=day, project=project,
                                 playbook=playbook, made=entry.n, n=entry.n)  # fmt: skip
    amount = event.usage
    table[id] = changed(
        old,
        n=entry.n,
        model_calls=old.model_calls + (not isinstance(event, events.ModelFailed)),
        input_tokens=old.input_tokens + amount.input_tokens,
        output_tokens=old.output_tokens + amount.output_tokens,
        cached_tokens=old.cached_tokens + amount.cached_tokens,
        cost_usd=old.cost_usd if amount.cost_usd is None else (old.cost_usd or 0.0) + amount.cost_usd,
        estimated=old.estimated or amount.estimated,
    )
    return (id,)


def view(spend: Spend) -> dict[str, Any]:
    """Return a row of `GET /v1/usage`."""
    return {
        "session_id": spend.session_id,
        "route": spend.route,
        "day": spend.day,
        "model_calls": spend.model_calls,
        "input_tokens": spend.input_tokens,
        "output_tokens": spend.output_tokens,
        "cached_tokens": spend.cached_tokens,
        "cost_usd": spend.cost_usd,
        "estimated": spend.estimated,
        "project": spend.project,
        "playbook": spend.playbook,
    }


NOUN = Noun(
    name="spend",
    cls=Spend,
    folded=frozenset(FOLDED),
    fold=lambda tables, entry: fold(tables[Spend], entry, tables[Run], tables[Flow]),
    keep=always,
    view=view,
    status=lambda spend: spend.day,
    filters=("route", "project", "playbook"),
)


@frozen
class Exceeded:
    """A limit that was reached: its name, the amounts, and whether a user may grant more. `above` names the run or
    session of an ancestor whose limit it is."""

    limit: str
    allowed: float
    spent: float
    above: str | None = None

    @property
    def is_shared(self) -> bool:
        return self.limit in ("tokens", "cost_usd")

    @property
    def grantable(self) -> bool:
        return self.is_shared and self.above is None


def check(state: State, run: Run, *, now: str) -> Exceeded | None:
    """Return the first limit that leaves no room for one more model call.

    The calls of one run are sequential, so concurrent runs exceed a shared limit by at most one call each.
    """
    used, limits, granted = run.usage, run.settings.limits, run.granted
    agent = state.find(Agent, run.agent_id)
    whole = usage.of_run(state, run) if run.children or run.below != NOTHING else used
    turn = state.find(Turn, run.run_id)
    active = run.active_seconds
    if run.running_since:
        active += max(0.0, ids.seconds_of(now) - ids.seconds_of(run.running_since))
    tokens, cost = whole.input_tokens + whole.output_tokens, whole.cost_usd or 0.0
    session_tokens, session_cost = _spent_by_session(state, run.session_id, agent)
    budget = state.get(Session, run.session_id).settings["budget"] or {}
    flow = state.find(Flow, run.flow["flow_id"]) if run.flow else None
    for name, allowed, spent in (
        ("turns", limits.turns, turn.turn if turn else 0),
        ("model_calls", limits.model_calls, used.model_calls),
        ("wall_time", limits.wall_time, active),
        ("tokens", limits.tokens, tokens),
        ("cost_usd", limits.cost_usd, cost),
        ("tokens", budget.get("tokens"), session_tokens),
        ("cost_usd", budget.get("cost_usd"), session_cost),
    ):
        if allowed is not None and spent >= allowed + granted.get(name, 0):
            return Exceeded(limit=name, allowed=float(allowed), spent=float(spent))
    excess = (_of_flow(flow) if flow is not None else None) or _of_goal(state, run)
    return excess or (_of_ancestors(state, agent) if agent is not None and agent.is_child else None)


def _of_ancestors(state: State, agent: Agent) -> Exceeded | None:
    """Return the first exceeded limit of the runs and sessions above an agent: what it spends counts there, too."""
    for above, run in usage.ancestors(state, agent):
        if run is not None:
            excess = usage.exceeded(run.settings.limits, run.granted, usage.of_run(state, run))
            if excess is not None:
                return Exceeded(limit=excess[0], allowed=excess[1], spent=excess[2], above=f"the run {run.run_id}")
            if (excess_of_goal := _of_goal(state, run)) is not None:
                return excess_of_goal
        budget = state.get(Session, above.session_id).settings["budget"] or {}
        tokens, cost = _spent_by_session(state, above.session_id, above)
        for name, spent in (("tokens", tokens), ("cost_usd", cost)):
            if budget.get(name) is not None and spent >= budget[name]:
                where = f"the session {above.session_id}"
                return Exceeded(limit=name, allowed=float(budget[name]), spent=float(spent), above=where)
    return None


def _of_goal(state: State, run: Run) -> Exceeded | None:
    """Return the limit of a goal that its run has used up. A person grants more by raising the goal's budget, so that
    the run fails without asking; the wrap-up run is beyond the budget."""
    goal = state.find(Goal, run.session_id)
    if goal is None or goal.run is None or goal.run.run_id != run.run_id or goal.run.purpose == "wrap_up":
        return None
    open_children = total(*(usage.unreported(state, id) for id in sorted(run.children)))
    name = goal.usage.reached(goal.budget, open_children)
    if name not in ("tokens", "cost_usd"):
        return None  # the run has a timer of its own
    used = total(goal.usage.spent, open_children)
    amount = used.input_tokens + used.output_tokens if name == "tokens" else used.cost_usd or 0.0
    allowed = getattr(goal.budget, name)
    return Exceeded(limit=name, allowed=float(allowed), spent=float(amount), above=f"the goal of {run.session_id}")


def _of_flow(flow: Flow) -> Exceeded | None:
    """Return the first exceeded limit of a Flow: limits and grants of a Flow apply to the sum over its runs."""
    used = flow_view.spent(flow.runs.values())
    for name, spent in (
        ("cost_usd", used.cost_usd or 0.0),
        ("tokens", used.input_tokens + used.output_tokens),
        ("model_calls", used.model_calls),
    ):
        allowed = (flow.plan.budget or {}).get(name)
        granted = sum(part.granted.get(name, 0.0) for part in flow.runs.values())
        if allowed is not None and spent >= allowed + granted:
            return Exceeded(limit=name, allowed=float(allowed), spent=float(spent))
    return None


def _spent_by_session(state: State, session_id: str, agent: Agent | None) -> tuple[int, float]:
    """Return the tokens and US dollars of a session and of the agents below it."""
    rows = state.table(Spend, session_id).values()
    below = usage.below(state, agent) if agent is not None and agent.children else NOTHING
    return (
        sum(row.input_tokens + row.output_tokens for row in rows) + below.input_tokens + below.output_tokens,
        sum(row.cost_usd or 0.0 for row in rows) + (below.cost_usd or 0.0),
    )
