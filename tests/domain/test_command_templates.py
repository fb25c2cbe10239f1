"""What an input says is one word of a command, wherever its placeholder stands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from kheish.domain import command_templates
from kheish.domain.flows import inputs as flow_inputs
from kheish.domain.playbooks import checks as playbook_checks

TEMPLATES = (
    "printf %s {{inputs.x}}",
    'printf %s "{{inputs.x}}"',
    "printf %s '{{inputs.x}}'",
    "printf %s ''{{ inputs.x }}",
)
HOSTILE = (
    "web; id > x; true",
    "$(touch x)",
    "`touch x`",
    "'; touch x; '",
    '"; touch x; "',
    "a\nb",
    "-n",
    "\\",
    "!!",
    "*",
    "",
    "{{inputs.x}}",
    "\\'; touch x #",
    "${IFS}",
)


@pytest.mark.found("S7")
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("value", HOSTILE)
def test_what_is_given_is_one_word(tmp_path: Path, template: str, value: str) -> None:
    command = flow_inputs.filled({"command": template}, {"x": value}, {"x": 1}, command=True)["command"]
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == value and list(tmp_path.iterdir()) == []


@given(st.text(alphabet="a'\"\\\\$`(){};&|<>*?~#!\n -", max_size=12), st.sampled_from(TEMPLATES))
def test_whatever_is_given(value: str, template: str) -> None:
    command = flow_inputs.filled(template, {"x": value}, {"x": 1}, command=True)
    assert subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout == value


@pytest.mark.parametrize(
    "template",
    [
        "{{inputs.x}}",
        " {{inputs.x}} a",
        "{{inputs.x}}/bin/y",
        'echo "$(cat {{inputs.x}})"',
        "echo `cat {{inputs.x}}`",
        "cat <<E\n{{inputs.x}}\nE",
        "true # {{inputs.x}}",
        "eval {{inputs.x}}",
        "echo $'{{inputs.x}}'",
        "echo '{{inputs.x}}",
    ],
)
def test_where_it_cannot_be_quoted_it_is_a_fault(template: str) -> None:
    assert command_templates.fault(template)
    with pytest.raises(ValueError, match=r"."):
        flow_inputs.filled(template, {"x": "y"}, {"x": 1}, command=True)
    for one in (
        {"command": template},
        {"command": {"run": template}},
        {"workspace_file": "{{inputs.x}}/a"},
        {"output_matches": {"pattern": "{{inputs.x}}"}},
    ):
        data = {"title": "t", "objective": "o", "inputs": {"x": {}}, "phases": [{"id": "a", "acceptance": [one]}]}
        assert "input_in_command" in [found.code for found in playbook_checks.check(data)]


@pytest.mark.found("S7")
@pytest.mark.parametrize(
    ("template", "is_bare", "runs"),
    [
        ("test -n {{inputs.x}}", True, False),
        ('test -n "{{inputs.x}}"', False, False),
        ("grep -q '{{inputs.x}}' log", False, False),
        ("sh -c '{{inputs.x}}'", False, True),
        ("env '{{inputs.x}}'", False, True),
        ('python3 -c "{{inputs.x}}"', False, True),
        ("ls && bash -c '{{inputs.x}}'", False, True),
        ("./check.sh '{{inputs.x}}'", False, False),
        ("make test", False, False),
        ("echo '{{inputs.x}}' | sh", False, True),
        ("echo '{{inputs.x}}' | xargs -I{} sh -c {}", False, True),
        ("echo '{{inputs.x}}' | grep -q a", False, False),
        ("x='{{inputs.x}}'; $x", False, True),
        ("f() { $1; }; f '{{inputs.x}}'", False, True),
        ("for i in '{{inputs.x}}'; do $i; done", False, True),
        ("read '{{inputs.x}}' < list", False, True),
        ("declare '{{inputs.x}}'", False, True),
    ],
)
def test_a_bare_placeholder_is_a_fault_and_one_that_may_be_run_is_known(
    template: str, is_bare: bool, runs: bool
) -> None:
    assert bool(command_templates.fault(template)) is is_bare
    assert command_templates.runs_input(template) is runs
