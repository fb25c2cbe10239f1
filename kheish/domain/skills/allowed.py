"""The calls that a skill names: `Bash(git *)`, `Read`, as rules and as tools to take away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from kheish.domain import public_names
from kheish.domain.permissions.rules import FILE_TOOLS, SHELL_TOOLS, Decision, Rule
from kheish.domain.skills import text


def rules(calls: Iterable[str], decision: Decision, folder: str = "") -> Iterator[Rule]:
    """Yield the rules that calls stand for; those that make no valid rule are skipped. `folder` is the skill's."""
    for call in calls:
        name, _, rest = text.put_dir(call, folder).partition("(")
        pattern = rest.rstrip().removesuffix(")").strip()
        for tool in public_names.TOOLS.get(name.strip(), (name.strip(),)):
            for match in _matches(tool, pattern):
                try:
                    yield Rule.model_validate({"tool": tool, "match": match, "decision": decision})
                except ValidationError:
                    continue


def tools(calls: Iterable[str]) -> tuple[str, ...]:
    """Return the tools that calls without a pattern stand for."""
    return tuple(dict.fromkeys(public_names.translated([call for call in calls if not has_pattern(call)])))


def has_pattern(call: str) -> bool:
    """Return whether a call is of some calls of its tool only."""
    _, bracket, rest = call.partition("(")
    return bool(bracket) and rest.rstrip().removesuffix(")").strip() not in ("", "*")


def are_readable(calls: Iterable[str]) -> list[str]:
    """Return the calls that make no rule."""
    return [call for call in calls if not any(rules([call], "deny"))]


def _matches(tool: str, pattern: str) -> Iterator[Any]:
    """Yield the `match` of rules for a public pattern: `npm test:*` is a command with any further words."""
    if pattern in ("", "*"):
        yield None
    elif tool in SHELL_TOOLS:
        command = pattern.removesuffix(":*")
        if command != pattern:
            yield command.strip()
            yield f"{command.strip()} *"
        else:
            yield pattern
    elif tool in FILE_TOOLS:
        yield pattern.removeprefix("./")
    elif tool == "web_fetch":
        yield pattern.removeprefix("domain:")
    elif tool == "use_skill":
        yield f'{{"name": "{pattern.partition(":")[0].strip()}"}}'
    else:
        yield pattern
