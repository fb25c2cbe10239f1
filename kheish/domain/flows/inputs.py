"""Inputs of a Flow: checked against the Playbook's schemas with all errors at once, and filled into its texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from kheish.domain import command_templates
from kheish.domain.contracts import check as contracts
from kheish.domain.playbooks.manifest import Playbook
from kheish.errors import Fault, Invalid
from kheish.store.edits.problems import nearest

MOST_BYTES = 64 * 1024
_PLACE = re.compile(r"\{\{\s*inputs\.([A-Za-z_][A-Za-z0-9_-]*)\s*\}\}")


def complete(manifest: Playbook, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with defaults.

    The first call imports a library of schemas: call it in a thread. Raises Invalid.
    """
    faults = [*_unknown(manifest, given), *_too_large(given)]
    values: dict[str, Any] = {}
    for name, declared in manifest.inputs.items():
        if name in given:
            values[name] = given[name]
            faults += _misfits(name, declared.json_schema, given[name])
        elif declared.has_default:
            values[name] = declared.default
        elif declared.is_required:
            about = f" ({declared.description})" if declared.description else ""
            faults.append(Fault(f"/inputs/{name}", f"is required{about}"))
    if faults:
        listed = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise Invalid(f"The inputs do not fit the Playbook: {listed}.", errors=faults)
    return values


def _unknown(manifest: Playbook, given: Mapping[str, Any]) -> list[Fault]:
    faults = []
    for name in given:
        if name not in manifest.inputs:
            near = nearest(name, manifest.inputs)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(manifest.inputs) or 'none'}"
            faults.append(Fault(f"/inputs/{name}", f"is not an input of this Playbook; {hint}"))
    return faults


def _too_large(given: Mapping[str, Any]) -> list[Fault]:
    size = len(orjson.dumps(given))
    return [Fault("/inputs", f"have {size} bytes; at most {MOST_BYTES}")] if size > MOST_BYTES else []


def _misfits(name: str, schema: Mapping[str, Any], value: Any) -> list[Fault]:
    return [Fault(f"/inputs/{name}{fault.path}", fault.message) for fault in contracts.faults(dict(schema), value)]


def filled(value: Any, inputs: Mapping[str, Any], known: Mapping[str, Any], *, command: bool = False) -> Any:
    """Fill each `{{inputs.name}}` in a text, or in all texts of lists and mappings.

    Makes a single pass: text that comes from an input is not scanned, so an input cannot introduce placeholders. In a
    `command` each value is quoted as one word. A known input without a value becomes empty text; an unknown name stays.
    """

    def put(match: re.Match[str]) -> str:
        name = match[1]
        if name not in known:
            return match[0]
        given = inputs.get(name)
        if given is None:
            return ""
        return given if isinstance(given, str) else orjson.dumps(given).decode()

    match value:
        case str() if command:
            return command_templates.filled(value, lambda match: put(match) if match[1] in known else None)
        case str():
            return _PLACE.sub(put, value)
        case Mapping():
            return {key: filled(one, inputs, known, command=command) for key, one in value.items()}
        case list() | tuple():
            return [filled(one, inputs, known, command=command) for one in value]
        case _:
            return value
