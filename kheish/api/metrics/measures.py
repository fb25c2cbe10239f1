"""Measures of a daemon in a registry of its own: model calls, tools, deliveries, commits, and the durable barrier.

No label has the id of a session, a run or a user, since their number grows.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

#: seconds
_CALLS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_TOOLS = (0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1800)
_COMMITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_BARRIER = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Measures:
    """The measures that are counted where something happens; `resource` adds those that are read when asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        given: dict[str, Any] = {"namespace": "kheish", "registry": self.registry}
        self.model_calls = Histogram(
            "model_call_seconds", "Model calls, each attempt.", ("route", "outcome"), buckets=_CALLS, **given
        )
        self.model_tokens = Counter("model_tokens", "Tokens of models.", ("route", "kind"), **given)
        self.model_cost = Counter("model_cost_usd", "Cost of models in US dollars.", ("route",), **given)
        self.tools = Histogram("tool_call_seconds", "Tool calls.", ("tool", "outcome"), buckets=_TOOLS, **given)
        self.runs = Counter("runs_ended", "Runs that ended.", ("status",), **given)
        self.deliveries = Histogram(
            "delivery_attempt_seconds", "Attempts to deliver an output.", ("outcome",), buckets=_CALLS, **given
        )
        self.commits = Histogram("commit_seconds", "Commits to git.", ("outcome",), buckets=_COMMITS, **given)
        self.barrier = Histogram("durable_seconds", "Waits until entries are on disk.", buckets=_BARRIER, **given)

    def committed(self, seconds: float, outcome: str) -> None:
        """Count an attempt to commit."""
        self.commits.labels(outcome).observe(seconds)
