"""Records of runs: short, without secrets, few, and the relevant ones first."""

from __future__ import annotations

from hypothesis import given, strategies as st

from kheish.domain.events import MemoryRecorded, RunCompleted, RunFailed, ToolFinished
from kheish.domain.events.runs import RunError
from kheish.domain.memory import records
from kheish.domain.memory.records import Doing, RunRecord, RunRecords
from tests.support.stateful import Played

NOW = "2026-11-29T12:00:00.000000Z"


@given(st.text(max_size=2000), st.text(max_size=2000))
def test_a_record_has_480_characters_at_most(asked: str, output: str) -> None:
    doing = Doing(files=tuple(f"{number}" * 100 for number in range(8)), failed=("bash",) * 8)
    text = records.compose(asked, RunCompleted(output=output), doing)
    assert len(records.shorten(text * 2, lambda line: line)) <= records.CHARACTERS


def test_a_secret_at_the_cut_leaves_no_part() -> None:
    secret = "hunter2-hunter2-hunter2"
    text = "x" * (records.CHARACTERS - 8) + secret
    short = records.shorten(text, lambda line: line.replace(secret.encode(), b"[redacted:pw]"))
    assert "hunter" not in short and len(short) <= records.CHARACTERS


def test_a_run_leaves_what_was_asked_what_came_out_files_and_failures(p: Played) -> None:
    run = p.submit_run("deploy the shop")
    table: dict[str, RunRecords] = p.state.table(RunRecords, "s")
    from kheish.domain.events import RunStarted

    p.move(run.run_id, RunStarted())
    done = ToolFinished(
        call_id="c", tool="edit_file", is_error=False, content="", detail={"path": "a.py", "after": "d"}
    )
    failed = ToolFinished(call_id="d", tool="bash", is_error=True, content="")
    p.state.append(done.on("s", run.run_id), failed.on("s", run.run_id))
    from kheish.domain import runs

    runs.complete(p.state, run.run_id, "it is deployed")
    (record,) = table["s"].records
    assert record.text == "Asked: deploy the shop; Outcome: it is deployed; Changed: a.py; Failed calls: bash"
    assert table["s"].doing == {}
    assert p.reloaded("s").tables[RunRecords]["s"] == table["s"]


def test_the_newest_32_are_kept_and_the_setting_turns_them_off(p: Played) -> None:
    for number in range(40):
        p.state.append(MemoryRecorded(text=f"record {number}").on("s", f"run_{number}"))
    kept = p.state.table(RunRecords, "s")["s"].records
    assert [one.text for one in kept] == [f"record {number}" for number in range(8, 40)]
    off = p.state.definitions.config.memory.model_copy(update={"run_records": "off"})
    p.state.definitions.config = p.state.definitions.config.model_copy(update={"memory": off})
    error = RunError(code="x", message="y")
    assert records.draft(p.state, "s", "run_x", (), RunFailed(error=error)) == []


def test_the_three_with_the_most_common_words_that_are_not_too_old() -> None:
    texts = {"deploy shop staging": 5, "deploy shop": 4, "deploy": 3, "staging deploy shop again": 40, "weather": 1}
    known = [
        RunRecord(run_id=f"r{days}", text=text, at=f"2026-{'10' if days > 28 else '11'}-{29 - days % 28:02}T00:00:00Z")
        for text, days in texts.items()
    ]
    found = records.relevant(known, "Please deploy the shop on staging", NOW)
    assert [one.text for one in found] == ["deploy shop staging", "deploy shop", "deploy"]
    assert records.relevant(known, "nothing alike", NOW) == []
