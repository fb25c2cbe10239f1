"""The permissions of each role, as a table over the first word of a path. Unlisted paths are denied."""

from __future__ import annotations

from kheish.auth.tokens import Principal

READS = frozenset({"GET", "HEAD", "OPTIONS"})

#: nouns that only an admin may read, since they show permissions
_CLOSED = frozenset({"tokens", "secrets", "auth"})
#: active work and questions to users: starting, stopping, answering
_WORK = frozenset({
    "sessions", "runs", "flows", "approvals", "questions", "agents", "channels", "projects", "tasks", "schedules",
    "deliveries", "assets", "observations", "pause", "resume",
})  # fmt: skip
#: texts that reach prompts as a user's, commands that run unasked, calls without an agent: operators without a person
#: cannot vouch for them
_VOUCHED = frozenset({"memory", "trust"})
_CALLS = frozenset({"call", "connect", "enable", "test"})
_CALLED = frozenset({"connectors", "hooks", "mcp", "outputs"})
#: work whose nouns are Definitions
_FILES = frozenset({"channels", "projects", "schedules"})
_NO_PERSON = (
    "The token names no person, so that it may not {method} {template}: kheish tokens create NAME --person WHO."
)
_ANSWERS = frozenset({"approvals", "questions"})
#: a user's own login; it grants no more than the token that requests it
_LOGIN = (["v1", "auth", "login"], ["v1", "auth", "login-links"])
_PERSONS = frozenset({"operator", "approver", "reader"})
#: the entrances of other protocols: each request is authorised as the operation that it stands for
_ENTRANCES = (["mcp"], ["openai"], ["agui"])


def refusal(principal: Principal, method: str, template: str) -> str | None:
    """Return the reason why a caller may not do this, in one sentence, or None. `template` is the path as the API lists
    it."""
    if principal.role == "admin":
        return None
    words = template.strip("/").split("/")
    noun = words[1] if words[0] == "v1" and len(words) > 1 else words[0]
    reads = method in READS
    role, _, of = principal.role.partition(":")
    if words in (*_LOGIN, *_ENTRANCES) and role in _PERSONS:
        return None
    if role == "operator" and not reads and (noun in _VOUCHED or (noun in _CALLED and words[-1] in _CALLS)):
        return None if principal.person is not None else _NO_PERSON.format(method=method, template=template)
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
    if words[-1] in ("check", "validate"):
        return True
    if noun == "sources" and words[-1] == "observations":
        return True
    if noun in _WORK:
        # An admin writes a Definition, members included; operators work with it. A goal is work of a session.
        is_definition = noun in _FILES and (len(words) <= 3 or words[3] == "members")
        return (method != "PUT" or words[-1] == "goal") and not is_definition
    return False
