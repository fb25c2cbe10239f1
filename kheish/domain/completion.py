"""Completion requirements: the conditions under which a run counts as completed, as callers write and the daemon checks
them.

A command is checked by a call of `bash` that the daemon makes after the model's final answer. Such a *check* passes
through the same steps as every call (permissions, approval, job, recovery). Its id distinguishes it from the model's
own calls, and the conversation does not show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import orjson

from kheish import ids
from kheish.domain.contracts import check as contracts
from kheish.domain.events import ModelCall, Requirement, ToolFinished, frozen
from kheish.domain.permissions.match import beneath
from kheish.errors import Fault
from kheish.texts import is_blank

MOST = 50  # requirements per run
TEXT_CHARS = 4000
#: seconds that a command may take: the default, and the maximum (the same as for `bash`)
SECONDS = 600.0
_PREFIX = "check:"
_KINDS = ("workspace_file", "command", "output_matches")
_FORMS = "a text, {workspace_file: path}, {command: command line}, or {output_matches: schema}"
_SHOWN = 2000  # characters of a command's output that are reported


@frozen
class Finding:
    """The result of checking one requirement; `met` is None for a text, which cannot be checked. `told`: the fault."""

    number: int  # from 1
    met: bool | None
    told: str = ""
    #: no action of the model would change the result
    is_final: bool = field(default=False)


def read(given: Iterable[Any], where: str = "/completion") -> tuple[tuple[Requirement, ...], list[Fault]]:
    """Return the requirements of a submission (or a Playbook's acceptance), and every fault with its path."""
    requirements: list[Requirement] = []
    faults: list[Fault] = []
    for number, item in enumerate(given):
        one, wrong = _requirement(item, f"{where}/{number}")
        faults += wrong
        if one is not None and not wrong:
            requirements.append(one)
    if len(requirements) > MOST:
        faults.append(Fault(where, f"has {len(requirements)} requirements; at most {MOST}"))
    return tuple(requirements), faults


def schemas(given: Iterable[Any]) -> Iterator[Any]:
    """Yield the JSON Schemas among the requirements of a submission, valid or not."""
    for item in given:
        if isinstance(item, Mapping) and item.keys() == {"output_matches"}:
            yield _schema(item["output_matches"])


def schema_faults(given: Sequence[Any], where: str = "/completion") -> Iterator[Fault]:
    """Yield the faults of the schemas, by path. Blocks: call it in a thread."""
    if sum(len(orjson.dumps(schema)) for schema in schemas(given)) > contracts.MAX_SCHEMA_BYTES:
        yield Fault(where, f"has schemas of more than {contracts.MAX_SCHEMA_BYTES // 1024} KiB")
        return
    for number, item in enumerate(given):
        for schema in schemas([item]):
            for fault in contracts.check_schema(schema):
                yield Fault(f"{where}/{number}/output_matches{fault.path}", fault.message)


def _schema(value: Any) -> Any:
    return value["schema"] if isinstance(value, Mapping) and value.keys() == {"schema"} else value


def written(requirement: Requirement) -> Any:
    """Return the requirement as users write it (`shapes.md`)."""
    if requirement.text is not None:
        return requirement.text
    if requirement.workspace_file is not None:
        return {"workspace_file": requirement.workspace_file}
    if requirement.command is not None:
        long = {"run": requirement.command, "exit": requirement.exit, "timeout": requirement.timeout}
        return {"command": requirement.command if (requirement.exit, requirement.timeout) == (0, SECONDS) else long}
    return {"output_matches": requirement.output_matches}


def words(requirement: Requirement) -> str:
    """Return the requirement as a sentence, for the model and for users."""
    if requirement.text is not None:
        return requirement.text
    if requirement.workspace_file is not None:
        return f"the workspace has the file {requirement.workspace_file}"
    if requirement.command is not None:
        return f"`{requirement.command}` ends with exit status {requirement.exit}"
    import json

    return f"your final answer is JSON that fits this JSON Schema: {json.dumps(requirement.output_matches)}"


# --- commands ---------------------------------------------------------------------------------------------------------


def is_check(call_id: str) -> bool:
    """Return whether the daemon made the call to check a requirement."""
    return call_id.startswith(_PREFIX)


def checks(requirements: Iterable[Requirement], turn: int) -> tuple[ModelCall, ...]:
    """Return the calls that check the commands among the requirements, after the answer of a turn."""
    return tuple(
        ModelCall(
            id=f"{_PREFIX}{turn}:{number}",
            name="bash",
            arguments={
                "command": one.command,
                "description": f"completion requirement {number}",
                "timeout": one.timeout,
            },
        )
        for number, one in enumerate(requirements, 1)
        if one.command is not None
    )


def number_of(call_id: str) -> int:
    """Return the number of the requirement that a check is for."""
    return int(call_id.rpartition(":")[2])


def judged(number: int, requirement: Requirement, outcome: ToolFinished) -> Finding:
    """Return the finding that follows from the result of a check."""
    status = outcome.detail.get("exit_status")
    if status == requirement.exit or (outcome.detail.get("settled_by") and not outcome.is_error):
        return Finding(number=number, met=True)
    content = outcome.content if isinstance(outcome.content, str) else outcome.content.preview
    if len(content) > _SHOWN:
        content = "…" + content[-_SHOWN:]
    if outcome.code == "permission_denied":
        return Finding(number=number, met=False, told=f"it could not be checked. {content}", is_final=True)
    ended = f"it ended with exit status {status}" if status is not None else "it could not be checked"
    return Finding(number=number, met=False, told=f"{ended}:\n{content}")


# --- reading ----------------------------------------------------------------------------------------------------------


def _requirement(item: Any, path: str) -> tuple[Requirement | None, list[Fault]]:
    if isinstance(item, str):
        if is_blank(item):
            return None, [Fault(path, "is empty")]
        if len(item) > TEXT_CHARS:
            return None, [Fault(path, f"has {len(item)} characters; at most {TEXT_CHARS}")]
        return Requirement(text=item), []
    if not isinstance(item, Mapping) or len(item) != 1 or next(iter(item)) not in _KINDS:
        return None, [Fault(path, f"must be {_FORMS}")]
    kind, value = next(iter(item.items()))
    path = f"{path}/{kind}"
    match kind:
        case "workspace_file":
            return _workspace_file(value, path)
        case "command":
            return _command(value, path)
        case _:
            schema = _schema(value)
            if not isinstance(schema, dict | bool):
                return None, [Fault(path, "must be a JSON Schema: an object, or true or false")]
            return Requirement(output_matches=schema), []


def _workspace_file(value: Any, path: str) -> tuple[Requirement | None, list[Fault]]:
    name = value["path"] if isinstance(value, Mapping) and value.keys() == {"path"} else value
    if not isinstance(name, str) or not name or "\0" in name:
        return None, [Fault(path, "must be the path of a file, from the workspace")]
    if name.startswith("/") or not beneath(Path("/w"), name):
        return None, [Fault(path, f"{name!r} leads out of the workspace; write a path that starts there")]
    return Requirement(workspace_file=name), []


def _command(value: Any, path: str) -> tuple[Requirement | None, list[Fault]]:
    fields = dict(value) if isinstance(value, Mapping) else {"run": value}
    faults = list(_command_faults(fields, path))
    if faults:
        return None, faults
    seconds = fields.get("timeout", SECONDS)
    seconds = ids.duration(seconds) if isinstance(seconds, str) else float(seconds)
    return Requirement(command=fields["run"], exit=fields.get("exit", 0), timeout=seconds), []


def _command_faults(given: Mapping[str, Any], path: str) -> Iterator[Fault]:
    for name in given.keys() - {"run", "exit", "timeout"}:
        yield Fault(f"{path}/{name}", "is unknown; a command has run, exit and timeout")
    run = given.get("run")
    if not isinstance(run, str) or is_blank(run) or "\0" in run or len(run) > 100_000:
        yield Fault(path, "must be a command line, or {run: command line, exit: 0, timeout: 10m}")
    status = given.get("exit", 0)
    if isinstance(status, bool) or not isinstance(status, int) or not 0 <= status <= 255:
        yield Fault(f"{path}/exit", "must be an exit status, 0 to 255")
    seconds = given.get("timeout", SECONDS)
    try:
        seconds = ids.duration(seconds) if isinstance(seconds, str) else seconds
    except ValueError as error:
        yield Fault(f"{path}/timeout", str(error))
        return
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= SECONDS:
        yield Fault(f"{path}/timeout", f"must be more than 0 and at most {SECONDS:g} s")
