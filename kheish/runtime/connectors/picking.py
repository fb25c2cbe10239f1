"""Reading of an untrusted body, and JMESPath expressions over it, in a confined child: both can take long, and neither
can be stopped in a thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from kheish.domain.connectors import templates
from kheish.errors import Fault, Invalid
from kheish.jobs import confined
from kheish.runtime.connectors import bodies

_SECONDS = 2.0
_POOL = confined.Pool("connectors", size=1)
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 50
#: characters of a picked value that is no content
_MOST_TEXT = 4000
_MOST_CONTENT = 4 * 1024 * 1024


async def pick(
    raw: bytes, media: str, expressions: Mapping[str, str], names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of expressions over a body, and its members by their dotted names. Raises Invalid."""
    try:
        answer = await _POOL.call(read, raw, media, dict(expressions), list(names), seconds=_SECONDS)
    except confined.Overdue as error:
        raise Invalid("The body takes too long to read by the connector's map; send less, or simplify it.") from error
    except confined.Failed as error:
        raise Invalid("The body cannot be read: it needs too much memory, or holds what is no text.") from error
    if "fault" in answer:
        raise Invalid(str(answer["fault"]), errors=[Fault(answer.get("path", ""), str(answer["fault"]))])
    return answer["picked"], answer["fields"]


def read(raw: bytes, media: str, expressions: dict[str, str], names: list[str]) -> dict[str, Any]:
    """Return the picked values of a body, or `fault`. Called in a confined child."""
    try:
        body = _parse(raw, media)
    except (ValueError, RecursionError) as error:
        if not expressions and not names:  # a body of text is its own content
            return {"picked": {"content": raw.decode("utf-8", "replace")}, "fields": {}}
        return {"fault": f"The body is not JSON: {error}."}
    picked: dict[str, Any] = {}
    for name, expression in expressions.items():
        try:
            picked[name] = _search(expression, body)
        except Exception as error:  # noqa: BLE001 - a wrong type in the body, by whatever function of the expression
            return {"fault": f"map.{name} cannot be applied to this body: {error}", "path": f"/map/{name}"}
    content = picked.get("content") if "content" in expressions else body
    picked["content"] = content if content is None else _written(content)
    if len(picked["content"] or "") > _MOST_CONTENT:
        return {"fault": f"The content has more than {_MOST_CONTENT} characters.", "path": "/map/content"}
    found = {name: templates.look_up(body if isinstance(body, dict) else {}, name) for name in names}
    return {"picked": picked, "fields": {name: _plain(value) for name, value in found.items() if value is not None}}


def _written(content: Any) -> str:
    """Return a content as a text: JSON with indentation, unless nesting makes that many times as long."""
    if isinstance(content, str):
        return content
    compact = json.dumps(content, ensure_ascii=False)
    indented = json.dumps(content, ensure_ascii=False, indent=2)
    return indented if len(indented) <= 3 * len(compact) + 100 else compact


def _parse(raw: bytes, media: str) -> Any:
    if media == _FORM:
        form = parse_qs(raw.decode(), strict_parsing=True, max_num_fields=_MOST_FIELDS)
        if "payload" in form:  # GitHub and others send JSON in a form
            return bodies.parse(form["payload"][0])
        return {name: values[0] if len(values) == 1 else values for name, values in form.items()}
    return bodies.parse(raw.decode())


def _search(expression: str, body: Any) -> Any:
    import jmespath

    return jmespath.search(expression, body)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_MOST_TEXT]
    return value if isinstance(value, bool | int | float) else json.dumps(value, ensure_ascii=False)[:_MOST_TEXT]


def text_of(value: Any) -> str | None:
    """Return a picked value as a text; None for a missing one."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
