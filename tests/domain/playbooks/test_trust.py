"""Which commands of a Playbook are shown as such that run without asking."""

from __future__ import annotations

from kheish.domain.playbooks import trust


def test_commands_that_meet_the_rules_are_not_shown_as_running_without_asking() -> None:
    acceptance = ["text", {"command": "make test"}, {"command": {"run": "make lint"}}, {"command": "make test"}]
    assert trust.commands({"acceptance": acceptance}) == ["make test", "make lint"]
    phases = [{"acceptance": [{"command": "sh -c '{{inputs.tests}}'"}]}]
    assert trust.commands({"acceptance": acceptance, "phases": phases}) == []
