"""Results of tools: JSON as text and as structure, within a size that clients can take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mcp_types as types

from kheish.errors import KheishError
from kheish.protocols.work import Work
from kheish.store.git.textconv import visible

#: characters of one text within a result, and of a result
TEXT, RESULT = 50_000, 400_000
_SHORT = 2000


def result(doc: Any, *, is_error: bool = False) -> types.CallToolResult:
    """Return a document as a tool's result. Long texts are cut; `n` of a session's entries finds the whole."""
    shown = _cut(doc, TEXT)
    text = json.dumps(shown, ensure_ascii=False)
    if len(text) > RESULT:
        shown = _cut(doc, _SHORT)
        text = json.dumps(shown, ensure_ascii=False)
    return types.CallToolResult(
        content=[types.TextContent(text=text)], structured_content=dict(shown), is_error=is_error
    )


def failure(error: KheishError) -> types.CallToolResult:
    """Return an error of the daemon as a tool's result, which the model reads."""
    faults = [f"{fault.path}: {fault.message}" for fault in error.errors]
    return refusal(" ".join([error.detail, f"({error.code})", *faults]))


def refusal(text: str) -> types.CallToolResult:
    """Return a sentence that says why a tool did nothing."""
    return types.CallToolResult(content=[types.TextContent(text=visible(text))], is_error=True)


def of_work(work: Work, notes: Sequence[str] = ()) -> types.CallToolResult:
    """Return a run or a Flow as a result; `notes` say what the client has to know beside it."""
    doc = {**work.doc, "notes": list(notes)} if notes else work.doc
    return result(doc, is_error=work.stage == "failed")


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}… ({len(value) - most} more characters)"
    if isinstance(value, Mapping):
        return {key: _cut(item, most) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(item, most) for item in value]
    return value
