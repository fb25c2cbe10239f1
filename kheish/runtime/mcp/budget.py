"""The budget of server tools in a prompt: above it, the model gets their names only, asking `tool_search` for more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kheish.domain.turns import TOOL_SEARCH
from kheish.runtime import fitting
from kheish.runtime.tools.base import Tool

SEARCH = TOOL_SEARCH
#: tools of servers, and the share of the window, up to which all definitions are offered
MOST, SHARE = 64, 0.10
_LISTED = 8000  # characters of the list of names
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools that a prompt offers, and the names of those that it only lists."""

    tools: Mapping[str, Tool]
    deferred: tuple[str, ...] = ()


def within(tools: Mapping[str, Tool], window: int | None, revealed: Iterable[str]) -> Offer:
    """Return the offer for a model with a window of this many tokens. `revealed` are the tools that the run has
    found."""
    served = {name: tool for name, tool in tools.items() if tool.true_name}
    if not served and SEARCH not in tools:
        return Offer(tools)
    size = sum(fitting.full_spec(tool).tokens for tool in served.values()) if window is not None else 0
    if len(served) <= MOST and (window is None or size <= window * SHARE):
        return Offer({name: tool for name, tool in tools.items() if name != SEARCH})
    kept = served.keys() & set(revealed)
    offered = {name: tool for name, tool in tools.items() if name not in served or name in kept}
    return Offer(offered, tuple(sorted(served.keys() - kept)))


def listing(deferred: Sequence[str]) -> str:
    """Return the names of tools that are not defined in the prompt, as far as they have room."""
    if not deferred:
        return ""
    shown: list[str] = []
    room = _LISTED
    for name in deferred:
        room -= len(name) + 2
        if room < 0:
            break
        shown.append(name)
    more = f", and {len(deferred) - len(shown)} more" if len(shown) < len(deferred) else ""
    return f"These tools of servers can be used after {SEARCH} has shown them: {', '.join(shown)}{more}."


def search(tools: Mapping[str, Tool], query: str, limit: int) -> list[Tool]:
    """Return the tools that fit a query best: those that it names, then those with most of its words."""
    named = [tools[name] for name in re.split(r"[\s,]+", query) if name in tools]
    words = {word.lower() for word in _WORD.findall(query)}
    ranked = sorted(
        ((score, tool) for tool in tools.values() if tool not in named and (score := _score(tool, words))),
        key=lambda one: (-one[0], one[1].name),
    )
    return [*named, *(tool for _, tool in ranked)][:limit]


def _score(tool: Tool, words: set[str]) -> float:
    """Return how well a tool fits: a word of its name counts three times, a beginning of a word half."""
    name = {word.lower() for word in _WORD.findall(tool.name)}
    text = {word.lower() for word in _WORD.findall(tool.description[:2000])}
    score = 0.0
    for word in words:
        if word in name:
            score += 3
        elif any(one.startswith(word) for one in name):
            score += 1.5
        if word in text:
            score += 1
        elif len(word) > 3 and any(one.startswith(word) for one in text):
            score += 0.5
    return score
