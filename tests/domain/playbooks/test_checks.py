"""What is wrong with a manifest beyond its types: each mistake has its place, its reason and the nearest name."""

from __future__ import annotations

import pytest

from kheish.authoring.playbooks import files as playbook_files
from kheish.domain.playbooks.manifest import Playbook

GOOD = """\
title: Triage
objective: Find the cause of {{inputs.service}}.
inputs:
  service: {type: string, required: true}
  depth: {type: integer, default: 2}
roles:
  planner: {purpose: plans}
phases:
  - id: look
    role: planner
    acceptance: [it is known, {workspace_file: report.md}, {command: make}, {output_matches: {type: object}}]
    evidence: [{kind: file, id: report}]
    tools: {allow: [read_file, "mcp__jira__*"], deny: [bash]}
  - id: act
    needs: [look]
    timeout: 30m
"""


def found(text: str) -> list[tuple[int | None, int | None, str, str | None]]:
    problems = playbook_files.parse(text.encode(), "playbooks/x/playbook.yaml").problems
    return [(one.line, one.column, one.code, one.suggestion) for one in problems]


def test_what_is_right_has_no_problem() -> None:
    parsed = playbook_files.parse(GOOD.encode(), "x")
    assert parsed.problems == []
    value = parsed.require()
    assert isinstance(value, Playbook) and value.phases[1].needs == ("look",)
    assert value.inputs["service"].is_required and value.inputs["service"].json_schema == {"type": "string"}
    assert value.inputs["depth"].has_default and not value.inputs["service"].has_default


@pytest.mark.parametrize(
    ("wrong", "right", "places"),
    [
        ("id: act", "id: look", [(14, 9, "duplicate_id", None), (15, 13, "cycle", None)]),
        ("needs: [look]", "needs: [lok]", [(15, 13, "unknown_phase", "look")]),
        ("role: planner", "role: planer\n    needs: [act]",
         [(7, 3, "unused_role", None), (10, 11, "unknown_role", "planner"), (11, 12, "cycle", None)]),
        ("deny: [bash]", "deny: [read_file]", [(13, 56, "tool_conflict", None)]),
        ("deny: [bash]", "deny: [bahs]", [(13, 56, "unknown_tool", "bash")]),
        ("inputs.service", "inputs.servce", [(2, 12, "unknown_input", "service")]),
        ("default: 2", "default: two", [(5, 35, "bad_default", None)]),
        ("type: integer", "typ: integer", [(5, 11, "unknown_key", "type")]),
        ("type: integer", "type: intger", [(5, 17, "bad_schema", None)]),
        ("kind: file", "kind: fle", [(12, 23, "bad_value", "file")]),
        ("{type: object}", "{type: objekt}", [(11, 101, "bad_schema", None)]),
        ("{kind: file, id: report}", "{kind: file, id: r}, {kind: file, id: r}", [(12, 54, "duplicate_id", None)]),
        ("workspace_file: report.md", "workspace_file: ../x", [(11, 48, "bad_value", None)]),
        ("timeout: 30m", "timeout: 30", [(16, 14, "bad_value", None)]),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place(wrong: str, right: str, places: list[tuple[int, int, str, str | None]]) -> None:
    assert wrong in GOOD
    assert found(GOOD.replace(wrong, right, 1)) == places


def test_all_mistakes_are_told_at_once_whatever_their_kind() -> None:
    text = "title: T\nobjektive: o\nphases:\n  - {id: a, needs: [b], retries: many, tools: {allow: [x], deny: [x]}}\n"
    codes = {code for _, _, code, _ in found(text)}
    assert codes == {
        "missing_key", "unknown_key", "unknown_phase", "wrong_type", "tool_conflict", "unknown_tool", "no_evidence",
        "no_acceptance",
    }  # fmt: skip


def test_nothing_to_show_is_a_warning_and_driving_by_phases_needs_some() -> None:
    bare = "title: T\nobjective: o\n"
    assert [code for _, _, code, _ in found(bare)] == ["missing_key", "no_acceptance", "no_evidence"]
    parsed = playbook_files.parse((bare + "drive: agent\n").encode(), "x")
    assert [one.severity for one in parsed.problems] == ["warning", "warning"] and parsed.value is not None


def test_a_phase_whose_id_is_no_text_is_told_and_no_defect() -> None:
    text = "title: T\nobjective: O\nphases:\n  - {id: [a], instructions: x}\n"
    assert (4, 10) in {(line, column) for line, column, _, _ in found(text)}


def test_a_cycle_over_three_phases_is_told_once() -> None:
    phases = "\n".join(f"  - {{id: {id}, needs: [{need}]}}" for id, need in ("ab", "bc", "ca"))
    text = f"title: T\nobjective: o\nacceptance: [x]\nevidence: [{{kind: run, id: r}}]\nphases:\n{phases}\n"
    assert found(text) == [(6, 20, "cycle", None)]
