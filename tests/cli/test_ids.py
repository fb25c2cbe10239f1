"""Ids on the command line: shortened, `last`, completed."""

from __future__ import annotations

import os
import subprocess

import pytest

from kheish.cli.main import main
from tests.cli.terminal import KHEISH
from tests.support.daemon_standin import Standin, run_view

RUN = "run_01m895gekx5x8e3a6d1ypjc10m"
OTHER = "run_01m895gekx5x8e3a6d1ypjc10n"


def page(*ids: str) -> tuple[int, dict[str, object]]:
    return 200, {"items": [run_view(run_id=id) for id in ids], "next_cursor": None}


@pytest.mark.found("C7")
@pytest.mark.parametrize(
    ("given", "asked"), [("01m895", {"id_prefix": "run_01m895"}), ("run_01", {"id_prefix": "run_01"}), ("last", {})]
)
def test_a_shortened_id_stands_for_the_whole(at: Standin, given: str, asked: dict[str, str]) -> None:
    at.answers |= {"GET /v1/runs": page(RUN), f"GET /v1/runs/{RUN}": (200, run_view(run_id=RUN))}
    assert main(["runs", "show", given, "--quiet"]) == 0
    query = at.of("GET /v1/runs")[0].query
    query.pop("limit")
    assert query == asked
    assert at.of(f"GET /v1/runs/{RUN}")


@pytest.mark.parametrize("given", [RUN, RUN.removeprefix("run_")])
def test_a_whole_id_asks_nothing_more(at: Standin, given: str) -> None:
    at.answers[f"GET /v1/runs/{RUN}"] = 200, run_view(run_id=RUN)
    assert main(["runs", "show", given, "--quiet"]) == 0
    assert not at.of("GET /v1/runs")


def test_a_beginning_of_several_names_them(at: Standin, capsys: pytest.CaptureFixture[str]) -> None:
    at.answers["GET /v1/runs"] = page(RUN, OTHER)
    assert main(["runs", "show", "01m895"]) == 2
    assert RUN in (told := capsys.readouterr().err) and OTHER in told


@pytest.mark.found("C7")
def test_the_shell_completes_ids_and_sessions(at: Standin) -> None:
    at.answers["GET /v1/runs"] = page(RUN, OTHER)
    at.answers["GET /v1/sessions"] = 200, {"items": [{"session_id": "fix-it"}], "next_cursor": None}

    def completed(*words: str) -> str:
        line = " ".join(("kheish", *words))
        environment = {**os.environ, "_KHEISH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "3"}
        return subprocess.run(KHEISH, env=environment, capture_output=True, text=True, timeout=20).stdout

    assert RUN in completed("runs", "show", "run_01") and OTHER in completed("runs", "show", "run_01")
    assert "fix-it" in completed("sessions", "show", "fi")


@pytest.mark.parametrize(
    ("words", "noun", "filters"),
    [
        (["approvals", "allow", "appr_"], "approvals", {"id_prefix": None, "status": "pending"}),
        (["approvals", "show", "appr_"], "approvals", {"id_prefix": None}),
        (["questions", "answer", "q_"], "questions", {"status": "pending"}),
    ],
)
def test_only_what_is_open_is_completed(
    at: Standin, words: list[str], noun: str, filters: dict[str, str | None]
) -> None:
    id = f"{words[2]}{RUN.removeprefix('run_')}"
    field = f"{noun.removesuffix('s')}_id"
    at.answers[f"GET /v1/{noun}"] = 200, {"items": [{field: id}], "next_cursor": None}
    environment = {**os.environ, "_KHEISH_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    environment["COMP_WORDS"] = " ".join(("kheish", *words))
    out = subprocess.run(KHEISH, env=environment, capture_output=True, text=True, timeout=20).stdout
    assert id in out
    assert at.of(f"GET /v1/{noun}")[0].query.get("status") == filters.get("status")


def test_last_is_completed_where_there_is_something(at: Standin) -> None:
    at.answers["GET /v1/runs"] = page(RUN)
    environment = {**os.environ, "_KHEISH_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    for beginning, shown in (("", True), ("la", True), ("run_", False)):
        environment["COMP_WORDS"] = f"kheish runs show {beginning}"
        out = subprocess.run(KHEISH, env=environment, capture_output=True, text=True, timeout=20).stdout
        assert ("last" in out) is shown, (beginning, out)


@pytest.mark.parametrize("given", ["", " ", "appr_"])
@pytest.mark.parametrize("command", ["allow", "deny", "show"])
def test_an_empty_id_is_none(at: Standin, command: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approvals", command, given]) == 2
    assert "is no id; name the approval" in capsys.readouterr().err
    assert not at.of("GET /v1/approvals")
