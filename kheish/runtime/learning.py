"""Learning: an answer or a refusal reveals facts about a server, so that it accepts the next request."""

from __future__ import annotations

from dataclasses import replace

from kheish.domain.turns import Turn
from kheish.runtime import dialects
from kheish.runtime.drafting import Draft
from kheish.runtime.drivers import chat, omitting
from kheish.runtime.drivers.base import ModelError, Reply
from kheish.runtime.targets import Target

REFUSALS = 16  # too long prompts in one turn: each makes the next prompt smaller
#: answers to a request whose form a server rejects; templates fail as errors of the server
_FORM = frozenset({None, 400, 422, 500})


def answered(target: Target, draft: Draft, reply: Reply) -> None:
    """Learn from the token count of the server."""
    if reply.usage.estimated or target.route.driver == "scripted":
        return
    target.facts.calibrate(draft.tokens, reply.usage.input_tokens)
    if target.facts.refused is not None and draft.tokens >= target.facts.refused:
        target.facts.refused = None


def adapt(target: Target, turn: Turn, draft: Draft, error: ModelError) -> bool:
    """Learn from the server's refusal. Returns whether the next request will differ."""
    match error.kind:
        case "context_length":
            target.facts.refuse(draft.tokens, error.window, error.prompt_tokens)
            return turn.too_long < REFUSALS
        case "bad_request" if error.status in _FORM:
            return _omits(target, draft, error) or _is_stricter(target, draft)
    return False


def _omits(target: Target, draft: Draft, error: ModelError) -> bool:
    """Omit the field that the server named, if the request has it and does not need it. Returns whether it did."""
    field = omitting.path(error.field) if error.field else ""
    facts = target.facts
    if not field or field in facts.omit:
        return False
    omit = facts.omit | {field}
    if chat.body(replace(draft.request, omit=omit)) == chat.body(draft.request):
        return False
    facts.omit = omit
    return True


def _is_stricter(target: Target, draft: Draft) -> bool:
    """Return whether the messages could be simplified by a degree that makes a difference, and simplify them.

    After the last degree the form is not the cause.
    """
    for strictness in range(target.facts.strictness + 1, dialects.STRICTEST + 1):
        if draft.messages(target, strictness) != draft.request.messages:
            target.facts.strictness = strictness
            return True
    target.facts.strictness = 0
    return False
