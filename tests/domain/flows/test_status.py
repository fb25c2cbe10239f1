"""The tables that a Flow's status follows from: every combination has a row, and says what it should."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from kheish.domain.flows import status as flow_status
from kheish.domain.flows.status import AGENT, FINAL, PHASES, Facts, FlowStatus, PhaseStatus, Place, Work, work_of
from kheish.domain.runs import Status

P, R, W, S, B, F, X = PhaseStatus
WORK = {
    Status.QUEUED: "queued", Status.RUNNING: "running", Status.WAITING_FOR_APPROVAL: "waiting",
    Status.WAITING_FOR_QUESTION: "waiting", Status.WAITING_FOR_AGENT: "running", Status.COMPLETED: "completed",
    Status.FAILED: "failed", Status.INTERRUPTED: "failed", Status.CANCELLED: "failed",
}  # fmt: skip


def test_every_combination_has_a_row() -> None:
    assert set(PHASES) == set(product(Work, (False, True)))
    assert set(AGENT) == set(product(Work, Place, (False, True)))


@pytest.mark.parametrize("run", Status)
def test_the_work_of_a_phase_follows_from_its_newest_run(run: Status) -> None:
    assert work_of(run, has_started=False, may_retry=False) == WORK[run]
    retried = work_of(run, has_started=True, may_retry=True)
    # an interrupted or cancelled run was meant to end: it is not tried again
    expected = {Status.FAILED: Work.TO_RETRY, Status.QUEUED: Work.RUNNING}.get(run, WORK[run])
    assert retried == expected
    assert work_of(None, has_started=False, may_retry=True) is Work.NONE


@pytest.mark.parametrize(
    ("done", "complete", "status"),
    [
        (Work.NONE, True, P), (Work.QUEUED, True, P), (Work.RUNNING, True, R), (Work.WAITING, False, W),
        (Work.COMPLETED, True, S), (Work.COMPLETED, False, B), (Work.TO_RETRY, False, P), (Work.FAILED, True, F),
    ],
)  # fmt: skip
def test_a_phase_that_has_runs_of_its_own(done: Work, complete: bool, status: PhaseStatus) -> None:
    assert PHASES[done, complete] is status


@pytest.mark.parametrize(
    ("done", "place", "lacks", "status"),
    [
        (Work.RUNNING, Place.SHOWN, False, S), (Work.RUNNING, Place.REACHED, True, R),
        (Work.RUNNING, Place.LATER, True, P), (Work.WAITING, Place.REACHED, True, W),
        (Work.WAITING, Place.LATER, True, P),
        (Work.COMPLETED, Place.REACHED, True, B), (Work.COMPLETED, Place.LATER, False, S),
        (Work.COMPLETED, Place.LATER, True, B), (Work.FAILED, Place.SHOWN, False, S),
        (Work.FAILED, Place.REACHED, True, F), (Work.FAILED, Place.LATER, False, X),
        (Work.NONE, Place.REACHED, True, P),
    ],
)  # fmt: skip
def test_a_phase_of_the_one_run(done: Work, place: Place, lacks: bool, status: PhaseStatus) -> None:
    assert AGENT[done, place, lacks] is status


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (Facts(phases=[P, P], is_ready=True), "pending"),
        (Facts(phases=[P, P], is_queued=True), "pending"),
        (Facts(phases=[R, P], has_begun=True), "running"),
        (Facts(phases=[S, P], has_begun=True, is_ready=True), "running"),
        (Facts(phases=[S, P], has_begun=True, is_queued=True), "running"),
        (Facts(phases=[W, P], has_begun=True), "waiting"),
        (Facts(phases=[R, W], has_begun=True), "running"),
        (Facts(phases=[S, S], has_begun=True), "succeeded"),
        (Facts(phases=[S, F], has_begun=True), "succeeded"),  # on_failure: continue
        (Facts(phases=[S, F], has_begun=True, is_fatal=True), "failed"),
        (Facts(phases=[F, P], has_begun=True, is_fatal=True, is_ready=True), "failed"),
        (Facts(phases=[F, R], has_begun=True, is_fatal=True), "running"),  # until it is stopped
        (Facts(phases=[S, B], has_begun=True), "blocked"),
        (Facts(phases=[B, P], has_begun=True, is_ready=True), "running"),
        (Facts(phases=[S, S], has_begun=True, lacks=True), "blocked"),
        (Facts(phases=[S, P], has_begun=True, is_cancelling=True, is_ready=True), "cancelled"),
        (Facts(phases=[S, R], has_begun=True, is_cancelling=True), "running"),
        (Facts(phases=[F, P], has_begun=True, is_cancelling=True, is_fatal=True), "cancelled"),
        (Facts(phases=[]), "succeeded"),
    ],
)  # fmt: skip
def test_the_status_of_a_flow(facts: Facts, status: str) -> None:
    assert flow_status.verdict(facts) == status


def test_nothing_is_final_while_a_phase_acts_and_nothing_succeeds_that_is_not_whole() -> None:
    """Over all sets of phase statuses and all flags: the properties that auditors count on."""
    flags = list(product((False, True), repeat=6))
    names = ("is_ready", "is_fatal", "is_cancelling", "is_queued", "has_begun", "lacks")
    for size in range(len(PhaseStatus) + 1):
        for phases in combinations(PhaseStatus, size):
            for values in flags:
                facts = Facts(phases=phases, **dict(zip(names, values, strict=True)))
                status = flow_status.verdict(facts)
                if {R, W} & set(phases) or facts.is_queued:
                    assert status not in FINAL
                if status is FlowStatus.SUCCEEDED:
                    assert not (facts.lacks or facts.is_fatal or facts.is_cancelling or facts.is_ready or B in phases)
                if facts.is_cancelling:
                    assert status not in (FlowStatus.SUCCEEDED, FlowStatus.FAILED, FlowStatus.BLOCKED)
