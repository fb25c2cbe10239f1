"""The faults of a Playbook beyond the types of its fields: unknown names, cycles, contradictions.

The checks use the plain data, so that all faults are reported at once, even if another field has the wrong type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kheish.domain import command_templates
from kheish.domain.contracts import check as contracts
from kheish.domain.playbooks import digest as playbook_digest
from kheish.domain.playbooks.manifest import input_schema
from kheish.errors import Fault
from kheish.store.edits.problems import nearest
from kheish.texts import is_number

Keys = tuple[str | int, ...]
_PLACEHOLDER = re.compile(r"\{\{\s*inputs\.([^}\s]+)\s*\}\}")
#: keywords of JSON Schema 2020-12; any other key of an input is most likely a mistake
_KEYWORDS = frozenset(
    re.findall(
        r"\S+",
        "$schema $id $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs allOf anyOf oneOf not if then "
        "else dependentSchemas prefixItems items contains properties patternProperties additionalProperties "
        "propertyNames unevaluatedItems unevaluatedProperties type enum const multipleOf maximum exclusiveMaximum "
        "minimum exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains "
        "maxProperties minProperties required dependentRequired title description default deprecated readOnly "
        "writeOnly examples format contentEncoding contentMediaType contentSchema",
    )
)


#: fields where inputs are not filled in, and what to do instead
_NOT_FILLED = {
    "command": "",
    "workspace_file": "the given value would lead to another file; name the file",
    "output_matches": "the given value would become a part of the JSON Schema (a pattern); write the schema",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault; `keys` lead to it in the document, and `at_key` marks the key itself."""

    keys: Keys
    message: str
    code: str = "bad_value"
    severity: Literal["error", "warning"] = "error"
    suggestion: str | None = None
    at_key: bool = False


def check(data: Mapping[str, Any], *, tools: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """Yield every fault; `tools` are the known names (None: names are not checked)."""
    phases = [(at, one) for at, one in enumerate(_list(data.get("phases"))) if isinstance(one, Mapping)]
    yield from _inputs(_map(data.get("inputs")))
    yield from _duplicate(phases)
    yield from _needs(phases)
    yield from _roles(data, phases)
    yield from _placeholders(data, phases)
    for keys, holder in [((), data), *((("phases", at), phase) for at, phase in phases)]:
        yield from _policy((*keys, "tools"), _map(holder.get("tools")), tools)
        yield from _evidence((*keys, "evidence"), _list(holder.get("evidence")))
        yield from _acceptance((*keys, "acceptance"), _list(holder.get("acceptance")))
    if data.get("drive", "phases") == "phases" and data.get("phases") in (None, []):
        yield Finding(("phases",), "a Playbook with `drive: phases` needs at least one phase", "missing_key")
    yield from _nothing_shown(data, phases)
    try:
        playbook_digest.digest(data, {})
    except ValueError as error:
        yield Finding((), f"the manifest has no digest: {error}")


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _unknown(
    keys: Keys,
    what: str,
    name: str,
    known: Sequence[str] | frozenset[str],
    code: str,
    severity: Literal["error", "warning"] = "error",
) -> Finding:
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else f"; known: {', '.join(sorted(known)[:10])}" if known else ""
    return Finding(keys, f"there is no {what} {name!r}{hint}", code, severity, near)


# --- inputs -----------------------------------------------------------------------------------------------------------


def _inputs(inputs: Mapping[str, Any]) -> Iterator[Finding]:
    for name, one in inputs.items():
        keys: Keys = ("inputs", name)
        if not isinstance(one, Mapping):
            continue
        schema = input_schema(one)
        for word in schema:
            if word not in _KEYWORDS and not word.startswith("x-"):
                near = nearest(word, _KEYWORDS)
                hint = f"; did you mean {near!r}?" if near else ""
                message = f"{word!r} is not a keyword of JSON Schema{hint}"
                yield Finding((*keys, word), message, "unknown_key", suggestion=near, at_key=True)
        yield from _schema(keys, schema)
        if "default" in one and one.get("required") is True:
            message = "an input with a default is never missing; drop `required`, or the default"
            yield Finding((*keys, "required"), message, severity="warning")
        if "default" in one and not contracts.check_schema(schema):
            for fault in contracts.faults(schema, one["default"]):
                message = f"the default does not fit: {fault.message}"
                yield Finding((*keys, "default", *_keys_of(fault, one["default"])), message, "bad_default")


def _schema(keys: Keys, schema: Any) -> Iterator[Finding]:
    for fault in contracts.check_schema(schema):
        yield Finding((*keys, *_keys_of(fault, schema)), f"is not a JSON Schema: {fault.message}", "bad_schema")


def _keys_of(fault: Fault, value: Any) -> Keys:
    """Return a JSON pointer as keys into the value, as far as the value contains them."""
    keys: list[str | int] = []
    for part in fault.path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and key in value:
            keys.append(key)
            value = value[key]
        elif isinstance(value, list) and is_number(key) and int(key) < len(value):
            keys.append(int(key))
            value = value[int(key)]
        else:
            break
    return tuple(keys)


def _placeholders(data: Mapping[str, Any], phases: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    """Yield each `{{inputs.name}}` of an unknown input."""
    inputs = [str(name) for name in _map(data.get("inputs"))]
    places: list[tuple[Keys, Any]] = [((key,), data.get(key)) for key in ("title", "objective")]
    places += [((("phases", at, key)), one.get(key)) for at, one in phases for key in ("objective", "instructions")]
    for keys, text in places:
        for placeholder in _PLACEHOLDER.finditer(text) if isinstance(text, str) else ():
            if placeholder[1] not in inputs:
                yield _unknown(keys, "input", placeholder[1], inputs, "unknown_input")


# --- phases -----------------------------------------------------------------------------------------------------------


def _duplicate(phases: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for at, phase in phases:
        id = phase.get("id")
        if not isinstance(id, str):
            continue
        if id in seen:
            message = f"the id {id!r} is already used by phase number {seen[id] + 1}"
            yield Finding(("phases", at, "id"), message, "duplicate_id")
        seen.setdefault(id, at)


def _needs(phases: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    ids = [phase["id"] for _, phase in phases if isinstance(phase.get("id"), str)]
    needs: dict[str, list[str]] = {}
    for at, phase in phases:
        id = phase.get("id")
        named = [one for one in _list(phase.get("needs")) if isinstance(one, str)]
        for number, need in enumerate(_list(phase.get("needs"))):
            keys: Keys = ("phases", at, "needs", number)
            if isinstance(need, str) and need not in ids:
                yield _unknown(keys, "phase", need, [one for one in ids if one != id], "unknown_phase")
            elif isinstance(need, str) and need == id:
                yield Finding(keys, "a phase cannot need itself", "cycle")
            elif isinstance(need, str) and need in named[:number]:
                yield Finding(keys, f"{need!r} is named twice", "duplicate_id")
        if isinstance(id, str):
            needs.setdefault(id, [one for one in named if one in ids and one != id])
    yield from _cycles(phases, needs)


def _cycles(phases: Sequence[tuple[int, Mapping[str, Any]]], needs: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Yield each cycle once, at the first of its phases."""
    reported: set[frozenset[str]] = set()
    for at, phase in phases:
        id = phase.get("id")
        way = _shortest_cycle(id, needs) if isinstance(id, str) else None
        if way is not None and frozenset(way) not in reported:
            reported.add(frozenset(way))
            yield Finding(("phases", at, "needs"), f"the needs form a cycle: {' → '.join([*way, way[0]])}", "cycle")


def _shortest_cycle(start: str, needs: Mapping[str, list[str]]) -> list[str] | None:
    """Return the shortest cycle from a phase back to itself; None if it is in no cycle."""
    ways, seen = [[start]], set[str]()
    while ways:
        way = ways.pop(0)
        for need in needs.get(way[-1], ()):
            if need == start:
                return way
            if need not in seen:
                seen.add(need)
                ways.append([*way, need])
    return None


def _roles(data: Mapping[str, Any], phases: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    roles = [str(name) for name in _map(data.get("roles"))]
    used = set[str]()
    for at, phase in phases:
        role = phase.get("role")
        if isinstance(role, str):
            used.add(role)
            if role not in roles:
                yield _unknown(("phases", at, "role"), "role", role, roles, "unknown_role")
    if data.get("drive", "phases") == "phases":
        for role in roles:
            if role not in used and phases:
                message = f"no phase has the role {role!r}"
                yield Finding(("roles", role), message, "unused_role", "warning", at_key=True)


# --- tools, evidence, acceptance --------------------------------------------------------------------------------------


def _policy(keys: Keys, policy: Mapping[str, Any], known: frozenset[str]) -> Iterator[Finding]:
    allow = [one for one in _list(policy.get("allow")) if isinstance(one, str)]
    for side in ("allow", "deny"):
        for at, name in enumerate(_list(policy.get(side))):
            if not isinstance(name, str):
                continue
            if side == "deny" and name in allow:
                message = f"the tool {name!r} is both allowed and denied"
                yield Finding((*keys, side, at), message, "tool_conflict")
            if known and not _is_known(name, known):
                yield _unknown((*keys, side, at), "tool", name, known, "unknown_tool", "warning")


def _is_known(name: str, known: frozenset[str]) -> bool:
    """Return whether the name may be a tool; the tools of MCP servers are unknown until these run."""
    if name in known or name == "*" or name.startswith("mcp__"):
        return True
    return name.endswith("*") and any(one.startswith(name[:-1]) for one in known | {"mcp__"})


def _evidence(keys: Keys, items: Sequence[Any]) -> Iterator[Finding]:
    seen = set[str]()
    for at, one in enumerate(items):
        id = _map(one).get("id")
        if isinstance(id, str) and id in seen:
            yield Finding((*keys, at, "id"), f"the evidence {id!r} is listed twice", "duplicate_id")
        if isinstance(id, str):
            seen.add(id)


def _acceptance(keys: Keys, items: Sequence[Any]) -> Iterator[Finding]:
    for at, one in enumerate(items):
        yield from _filled_in((*keys, at), one)
        if isinstance(one, Mapping) and isinstance(one.get("output_matches"), dict | bool):
            yield from _schema((*keys, at, "output_matches"), one["output_matches"])


def _filled_in(keys: Keys, one: Any) -> Iterator[Finding]:
    """Yield placeholders whose value could change the meaning of a command, a path or a schema."""
    for kind, why in _NOT_FILLED.items():
        for below, text in _texts(_map(one).get(kind), (kind,)):
            wrong = command_templates.fault(text) if kind == "command" else why if _PLACEHOLDER.search(text) else None
            if wrong:
                yield Finding((*keys, *below), f"an input cannot be used like this here: {wrong}", "input_in_command")


def _texts(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(str(key), (*keys, str(key)))
            yield from _texts(item, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _texts(item, (*keys, at))


def _nothing_shown(data: Mapping[str, Any], phases: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    for key, why in (
        ("acceptance", "nothing states when the work is done well"),
        ("evidence", "no result has to be documented"),
    ):
        if not data.get(key) and not any(phase.get(key) for _, phase in phases):
            yield Finding((), f"the Playbook has no {key}: {why}", f"no_{key}", "warning")
