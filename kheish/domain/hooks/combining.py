"""The answers of several hooks at one point, put together: one after another, in the order of their files' names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kheish.domain.events import HookOutcome, Usage
from kheish.domain.hooks.answer import Answer, Decision
from kheish.domain.hooks.definition import HookFile
from kheish.domain.hooks.moments import MOMENTS

#: events at which a hook's `allow` and rewritten arguments count
_BEFORE = frozenset({"pre_tool_use", "permission_request"})
#: events at which a refusal is a word to the model
_AFTER = frozenset({"post_tool_use", "post_tool_use_failure"})


@dataclass(slots=True)
class Combined:
    """The outcome at one point, as far as its hooks have run. A refusal ends the deciding; hooks that observe still
    run."""

    moment: str
    outcomes: list[HookOutcome] = field(default_factory=list)
    decision: Decision | None = None
    decided_by: str | None = None
    reason: str | None = None
    stop_reason: str | None = None
    output: str | None = None
    retry: bool = False
    usage: Usage = field(default_factory=Usage)
    model_calls: int = 0
    words: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether no later hook has a say."""
        return self.decision == "deny" or self.stop_reason is not None

    @property
    def context(self) -> str | None:
        """The words for the model."""
        return "\n\n".join(self.words) or None

    def takes_input(self, hook: HookFile, answer: Answer) -> dict[str, Any] | None:
        """Return the arguments that a hook has rewritten, if it may."""
        return answer.updated_input if self.moment in _BEFORE and not hook.observe else None

    def take(self, id: str, hook: HookFile, outcome: HookOutcome, answer: Answer | None) -> None:
        """Add the outcome of the next hook. `answer` is None for one that failed or was not started."""
        self.outcomes.append(outcome)
        if hook.observe:
            return
        if answer is None:
            if hook.failure == "closed" and outcome.result != "cancelled":
                self._refuse(id, f"the hook {id} gave no answer: {outcome.reason}")
            return
        if answer.context is not None:
            self.words.append(f"Context from the hook {id}:\n{answer.context}")
        if self.moment in _AFTER and answer.updated_output is not None:
            self.output = answer.updated_output
        self.retry = self.retry or answer.retry
        if answer.stop_reason is not None:
            self.stop_reason, self.decided_by = answer.stop_reason, id
        if answer.decision == "deny":
            self._refuse(id, answer.reason or "it gave no reason")
        elif answer.decision == "ask" and self.moment == "pre_tool_use":
            self.decision, self.decided_by, self.reason = "ask", id, answer.reason
        elif answer.decision == "allow" and self.moment in _BEFORE and hook.may_allow and self.decision is None:
            self.decision, self.decided_by, self.reason = "allow", id, answer.reason

    def _refuse(self, id: str, reason: str) -> None:
        if self.moment in _AFTER:
            self.words.append(f"The hook {id} objects to this result:\n{reason}")
        elif MOMENTS[self.moment].blocks or self.moment == "permission_request":
            self.decision, self.decided_by, self.reason = "deny", id, reason

    def spend(self, usage: Usage | None) -> None:
        """Add the cost of a model call; None for a hook that made none."""
        if usage is not None:
            self.model_calls += 1
            self.usage = Usage(
                input_tokens=self.usage.input_tokens + usage.input_tokens,
                output_tokens=self.usage.output_tokens + usage.output_tokens,
                cached_tokens=self.usage.cached_tokens + usage.cached_tokens,
                cost_usd=None
                if self.usage.cost_usd is usage.cost_usd is None
                else (self.usage.cost_usd or 0.0) + (usage.cost_usd or 0.0),
                estimated=self.usage.estimated or usage.estimated,
            )
