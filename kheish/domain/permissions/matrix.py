"""The matrix of permissions: for each tool, the decision on a call that no rule about arguments matches, and those
rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kheish.domain.events import Scope
from kheish.domain.permissions import decide
from kheish.domain.permissions.rules import Mode, Placed, Rule, SandboxFacts, Scopes, ToolCall, placed


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms by which the calls of a session are judged."""

    mode: Mode
    rules: Scopes
    sandbox: SandboxFacts
    workspace: Path
    policies: Sequence[Scope] = ()


def rows(tools: Mapping[str, str], terms: Terms) -> list[dict[str, Any]]:
    """Return a row for each tool, by name. `tools`: their effects."""
    general = tuple((scope, tuple(map(_general, rules))) for scope, rules in terms.rules)
    conditional = [one for one in placed(terms.rules) if _general(one.rule) is None]
    made = []
    for tool, effect in sorted(tools.items()):
        verdict = decide.decide(
            ToolCall(tool=tool, effect=effect, arguments={}),
            mode=terms.mode,
            scopes=general,
            sandbox=terms.sandbox,
            workspace=terms.workspace,
            policies=terms.policies,
        )
        own = [_shown(one) for one in conditional if one.concerns(tool)]
        made.append({"tool": tool, "effect": effect, **decide.explain(verdict), "conditional": own})
    return made


def _general(rule: Rule | None) -> Rule | None:
    """Return a rule that applies to every call of its tool; None for one that depends on the arguments."""
    return rule if rule is not None and rule.match is None else None


def _shown(one: Placed) -> dict[str, Any]:
    return {**one.rule.model_dump(mode="json", exclude_defaults=True), "origin": one.origin}
