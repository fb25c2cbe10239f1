"""What each role may do, as a table over the first word of a path. What is not named is denied."""

from __future__ import annotations

from kheish.auth.tokens import Principal

READS = frozenset({"GET", "HEAD", "OPTIONS"})

#: nouns that only an admin looks at: they tell who may do what
_CLOSED = frozenset({"tokens", "secrets", "auth"})
#: what runs and what waits for people; starting, stopping, answering
_WORK = frozenset({
    "sessions", "runs", "flows", "approvals", "questions", "agents", "channels", "projects", "tasks", "schedules",
    "deliveries", "assets", "observations", "pause", "resume",
})  # fmt: skip
_ANSWERS = frozenset({"approvals", "questions"})
#: a person's own login; it gives no more than the token that it is asked with
_LOGIN = (["v1", "auth", "login"], ["v1", "auth", "login-links"])
_PERSONS = frozenset({"operator", "approver", "reader"})


def refusal(principal: Principal, method: str, template: str) -> str | None:
    """Why a caller may not do this, in one sentence; None where it may. `template` is the path as the API lists it."""
    if principal.role == "admin":
        return None
    words = template.strip("/").split("/")
    noun = words[1] if words[0] == "v1" and len(words) > 1 else words[0]
    reads = method in READS
    role, _, of = principal.role.partition(":")
    if words in _LOGIN and role in _PERSONS:
        return None
    match role:
        case "operator" if noun not in _CLOSED and (reads or _is_work(method, noun, words)):
            return None
        case "reader" if noun not in _CLOSED and (reads or words[-1] in ("check", "validate")):
            return None
        case "approver" if noun in _ANSWERS or (reads and noun == "status"):
            return None
        case "ingress" if method == "POST" and words == ["v1", "ingress", of]:
            return None
        case "observer" if method == "POST" and words == ["v1", "sources", of, "observations"]:
            return None
    return f"The token's role {principal.role} may not {method} {template}."


def _is_work(method: str, noun: str, words: list[str]) -> bool:
    if noun in _WORK:
        # A Definition is written by an admin; what happens in it, by whoever works with it.
        return method != "PUT" and not (noun in ("channels", "projects", "schedules") and len(words) <= 3)
    return words[-1] in ("check", "validate")
