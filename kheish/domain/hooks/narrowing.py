"""Permission decisions and hooks: a hook narrows what rules decide; `may_allow` answers asks of the mode only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kheish.domain.calls import BEFORE, JUDGES
from kheish.domain.events import HooksRan
from kheish.domain.permissions.decide import LEAVE_PLAN, Mode, Verdict


def narrowed(verdict: Verdict, hooked: Mapping[str, HooksRan], tool: str, mode: Mode, *, two: bool) -> Verdict:
    """Return the verdict with the decisions of hooks that judged the call before. `two`: two persons must agree to what
    asks, so no hook answers for them."""
    judged = [ran for event, ran in hooked.items() if event in JUDGES and ran.decision is not None]
    for ran in judged:
        if ran.decision == "deny" and verdict.decision != "deny":
            return Verdict(decision="deny", why=_why(ran), origin=f"hook {ran.decided_by}")
    own = hooked.get(BEFORE)
    if own is None or own.decision is None:
        return verdict
    if own.decision == "ask" and verdict.decision == "allow":
        if mode == "dont_ask":
            why = f"would ask, so it is denied (mode dont_ask): {_why(own)}"
            return Verdict(decision="deny", why=why, origin=f"hook {own.decided_by}")
        if mode != "bypass":
            return replace(verdict, decision="ask", why=_why(own), rule=None, origin=f"hook {own.decided_by}")
    if own.decision == "allow":
        return allowed(verdict, own, tool, two=two)
    return verdict


def allowed(verdict: Verdict, ran: HooksRan, tool: str, *, two: bool) -> Verdict:
    """Return the verdict after a hook that may allow has allowed the call: it answers an ask of the mode, and no
    other."""
    is_of_mode = verdict.decision == "ask" and (verdict.origin or "").startswith("mode ")
    if not is_of_mode or two or tool == LEAVE_PLAN:
        return verdict
    return replace(verdict, decision="allow", why=_why(ran), origin=f"hook {ran.decided_by}")


def _why(ran: HooksRan) -> str:
    word = {"deny": "denied", "ask": "asked about", "allow": "allowed"}[ran.decision or "ask"]
    return f"{word} by the hook {ran.decided_by}" + (f": {ran.reason}" if ran.reason else "")
