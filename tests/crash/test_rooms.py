"""The rules of channels and projects find each fault that is planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crash import boards, rooms

AT, LATER = "2026-12-01T09:00:01.000000Z", "2026-12-01T10:00:00.000000Z"
ONE, TWO, _ = rooms.SPEAKERS


def entry(n: int, kind: str, run: str | None = None, at: str = AT, **data: Any) -> dict[str, Any]:
    return {"n": n, "at": at, "kind": kind, "run": run, "session": ONE, "data": data}


def message(n: int, id: str, turn: str | None = None) -> dict[str, Any]:
    author = {"member": ONE, "name": ONE} if turn is not None else {"member": None, "name": "local"}
    post = {"message_id": id, "thread": "m1", "author": author, "opens": turn is None, "addressed": [], "tagged": [],
            "replied_to": None, "mentioned": [], "turn_id": turn}  # fmt: skip
    return entry(n, "channel.posted", post=post)


def granted(n: int, turn: str, member: str, upto: int) -> dict[str, Any]:
    return entry(n, "channel.turn_granted", turn_id=turn, thread="m1", member=member, run_id=f"run_{turn}", upto=upto,
                 expires_at=LATER)  # fmt: skip


TALK = {
    "asked": message(1, "m1"),
    "granted": granted(2, "a", ONE, 1),
    "run": entry(3, "run.submitted", "run_a"),
    "ended run": entry(4, "run.completed", "run_a"),
    "answer": message(5, "m2", "a"),
    "over": entry(6, "channel.turn_ended", turn_id="a", state="posted"),
}


def faults_of_talk(*names: str, quiet: bool = False) -> set[str]:
    lines = [{**TALK[name], "n": number} if name != "granted" else TALK[name] for number, name in enumerate(names, 1)]
    journals = {f"journals/channels/{rooms.ROOM}/000001.jsonl": lines}
    found = [*rooms.turns(journals, is_quiet=quiet), *rooms.posts(journals, {"posts": [{"id": "m1"}]})]
    return {one.code for one in found}


def test_a_good_talk_has_no_fault() -> None:
    assert faults_of_talk(*TALK) == set()


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("asked", "granted", "run", "ended run", "answer", "answer", "over"), {"turns", "post_twice"}),
        (("asked", "granted", "run", "ended run", "over"), {"turns"}),
        (("asked", "granted", "ended run", "answer", "over"), {"turn_run"}),
        (("asked", "granted", "run", "run", "ended run", "answer", "over"), {"turn_run"}),
        (("asked", "granted", "granted", "run", "ended run", "answer", "over"), {"turns"}),
        ((), {"post_lost"}),
    ],
)
def test_a_fault_of_turns_is_found(names: tuple[str, ...], found: set[str]) -> None:
    assert faults_of_talk(*names) == found


def test_turns_without_an_end_are_found_where_it_is_quiet() -> None:
    assert faults_of_talk("asked", "granted", "run", quiet=True) == {"turns"}


def of_task(n: int, kind: str, **data: Any) -> dict[str, Any]:
    return entry(n, f"project_task.{kind}", project=boards.BOARD, task_id="t", **data)


def claimed(n: int, id: str, run: str | None = None, until: str | None = None) -> dict[str, Any]:
    started = run is not None
    return of_task(n, "claimed", claim_id=id, by="x", run_id=run, started=started, expires_at=until)


BY_RUN = [
    of_task(1, "created"), claimed(2, "c1", "run_1"), entry(3, "run.submitted", "run_1"),
    of_task(4, "ended", status="completed", output="done"),
]  # fmt: skip
OUTSIDE = [of_task(1, "created"), claimed(2, "c1", until=LATER), of_task(3, "ended", status="completed", output="done")]
ACKS = {"tasks": [{"id": "t"}], "results": [{"id": "t", "output": "done"}]}


def faults_of_board(lines: list[dict[str, Any]]) -> set[str]:
    lines = [{**one, "n": number} for number, one in enumerate(lines, 1)]
    journals = {f"journals/projects/{boards.BOARD}/000001.jsonl": lines}
    return {one.code for one in (*boards.claims(journals), *boards.tasks(journals, ACKS))}


@pytest.mark.parametrize("lines", [BY_RUN, OUTSIDE])
def test_a_good_board_has_no_fault(lines: list[dict[str, Any]]) -> None:
    assert faults_of_board(lines) == set()


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([OUTSIDE[0], OUTSIDE[1], claimed(9, "c2", until=LATER), OUTSIDE[2]], {"claim_twice"}),
        ([*OUTSIDE, claimed(9, "c2", until=LATER)], {"claim_after_end"}),
        ([*OUTSIDE, OUTSIDE[2]], {"task_twice", "result_lost"}),
        ([OUTSIDE[0], OUTSIDE[0], *OUTSIDE[1:]], {"task_twice"}),
        ([*OUTSIDE[:2], of_task(9, "released", claim_id="c0"), OUTSIDE[2]], {"claim_stale"}),
        (OUTSIDE[:2], {"result_lost"}),
        (OUTSIDE[1:], {"task_gone"}),
        ([BY_RUN[0], BY_RUN[1], BY_RUN[3]], {"start_run"}),
        ([*BY_RUN[:3], BY_RUN[2], BY_RUN[3]], {"start_run"}),
        (BY_RUN[:3], {"task_lost", "result_lost"}),
    ],
)
def test_a_fault_of_a_board_is_found(lines: list[dict[str, Any]], found: set[str]) -> None:
    assert faults_of_board(lines) == found
