"""The choice of a worker: the freest that fits, always the same for the same state, or a clear refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from kheish.domain.agents import spawn
from kheish.domain.agents.agent import of_session
from kheish.domain.definitions import Definition
from kheish.domain.events import Item
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session, view
from kheish.domain.workers import placement
from kheish.domain.workers.definition import WorkerChoice, WorkerFile
from kheish.domain.workers.placement import Load
from kheish.errors import Invalid
from tests.support.stateful import Played

LABELS = ("gpu", "linux", "big")
files = st.builds(
    lambda labels, jobs, disabled: WorkerFile(
        carrier="ssh", address="host", labels=tuple(sorted(labels)), resources={"jobs": jobs}, disabled=disabled
    ),
    st.sets(st.sampled_from(LABELS)),
    st.integers(1, 8),
    st.booleans(),
)
known_workers = st.dictionaries(st.sampled_from("abcde"), files, max_size=5)
loads = st.dictionaries(
    st.sampled_from("abcde"),
    st.builds(
        Load, jobs=st.integers(0, 8), placed=st.integers(0, 3), is_reachable=st.sampled_from([None, True, False])
    ),
)
choices = st.one_of(
    st.builds(lambda id: WorkerChoice(id=id), st.sampled_from("abcde")),
    st.builds(lambda labels: WorkerChoice(labels=tuple(labels)), st.sets(st.sampled_from(LABELS), min_size=1)),
)


def is_candidate(id: str, file: WorkerFile, wanted: WorkerChoice) -> bool:
    named = id == wanted.id if wanted.id else set(wanted.labels or ()) <= set(file.labels)
    return named and not file.disabled


@given(known_workers, loads, choices)
def test_the_choice_fits_and_none_that_fits_is_freer(
    known: dict[str, WorkerFile], use: dict[str, Load], wanted: WorkerChoice
) -> None:
    candidates = {id for id, file in known.items() if is_candidate(id, file, wanted)}
    try:
        chosen = placement.choose(known, use, wanted)
    except Invalid as error:
        assert not candidates and error.errors[0].path == "/worker"
        return
    assert chosen in candidates
    reachable = {id for id in candidates if use.get(id, Load()).is_reachable is not False}
    assert chosen in (reachable or candidates), "an unreachable one only if there is no other"
    share = {id: use.get(id, Load()).jobs / (known[id].jobs or 1) for id in reachable or candidates}
    assert share[chosen] == min(share.values())


@given(known_workers, loads, choices)
def test_the_choice_depends_on_no_order(
    known: dict[str, WorkerFile], use: dict[str, Load], wanted: WorkerChoice
) -> None:
    def outcome(workers: dict[str, WorkerFile]) -> str:
        try:
            return placement.choose(workers, use, wanted)
        except Invalid as error:
            return error.detail

    assert outcome(known) == outcome(dict(reversed(known.items())))


def add(p: Played, id: str, *labels: str, **fields: Any) -> None:
    file = WorkerFile(carrier="ssh", address=id, labels=labels, **fields)
    path = f"workers/{id}.yaml"
    found = Definition(kind="workers", id=id, path=path, value=file, data={}, raw=b"", digest=repr(file))
    p.state.definitions.replace({path: found})


def test_sessions_that_come_at_once_are_spread(p: Played) -> None:
    add(p, "one", "gpu")
    add(p, "two", "gpu")
    wanted = WorkerChoice(labels=("gpu",))
    chosen = []
    for number in range(4):
        worker = placement.place(p.state, wanted)
        p.session(f"s{number}", worker=worker)
        chosen.append(p.state.get(Session, f"s{number}").worker)
    assert sorted(chosen) == ["one", "one", "two", "two"]


def test_a_session_keeps_its_worker_whatever_becomes_of_the_files(p: Played) -> None:
    add(p, "one", "gpu")
    p.session("far", worker="one")
    p.state.definitions.replace({"workers/one.yaml": None})
    run = p.submit_run(session_id="far")
    assert p.state.get(Run, run.run_id).settings.worker == "one"
    assert view(p.state.get(Session, "far")).worker == "one" and p.state.get(Session, "s").worker is None


def test_a_child_has_its_parents_worker_unless_it_names_one(p: Played) -> None:
    add(p, "one", "gpu")
    add(p, "two", "cpu")
    p.session("far", worker="one")

    def child(name: str, session: str, wanted: WorkerChoice | None) -> str | None:
        given = spawn.Spawn(name=name, items=(Item(text="x"),), by="test", worker=wanted)
        made = spawn.plan(p.state, of_session(p.state, session), None, given)
        p.state.append(*spawn.drafts(p.state, made))
        return p.state.get(Session, made.session_id).worker

    assert child("a", "far", None) == "one"
    assert child("b", "far", WorkerChoice(labels=("cpu",))) == "two"
    assert child("c", "s", None) is None
    with pytest.raises(Invalid, match=r"no worker has the labels tpu.*one \(gpu\), two \(cpu\)"):
        child("d", "far", WorkerChoice(labels=("tpu",)))


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"carrier": "ssh", "address": "-oProxyCommand=x"}, "address"),
        ({"carrier": "ssh", "address": "a b"}, "address"),
        ({"carrier": "ssh", "address": "host", "resources": {"CPU": 1}}, "jobs"),
        ({"carrier": "ssh", "address": "host", "resources": {"jobs": 1.5}}, "whole"),
        ({"carrier": "ray", "address": "http://head:1"}, "ray://"),
        ({"carrier": "ray", "address": "ray://user:token@head:10001"}, "token"),
        ({"carrier": "ray", "address": "ray://-head:10001"}, "address"),
        ({"carrier": "ray", "address": "ray://head;id:10001"}, "address"),
        ({"carrier": "ray", "address": "ray://he\nad:10001"}, "address"),
        ({"carrier": "ray", "address": "ray://[::1:10001"}, "address"),
        ({"carrier": "ray", "address": "head:10001", "resources": {"jobs": 2}}, "jobs"),
        ({"carrier": "ssh", "address": "host", "labels": ["Gpu!"]}, "labels"),
    ],
)
def test_a_file_that_cannot_work_is_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        WorkerFile.model_validate(fields)


@pytest.mark.parametrize("address", ["auto", "head:10001", "ray://head.example:10001/", "ray://[::1]:10001"])
def test_addresses_of_ray(address: str) -> None:
    assert WorkerFile(carrier="ray", address=address).jobs is None


@pytest.mark.parametrize("address", ["host", "me@10.0.0.7", "big.example.com", "[::1]", "me_2@alias-1"])
def test_addresses_of_ssh(address: str) -> None:
    assert WorkerFile(carrier="ssh", address=address).jobs == 4
