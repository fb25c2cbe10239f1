"""JSON bodies of outside senders. It may take long: call it in a child process."""

from __future__ import annotations

import json
from typing import Any

from kheish.errors import Invalid


def parse(text: str) -> Any:
    """Return the value of a JSON text; halves of characters, which senders leave when they cut a text, are replaced.
    Raises ValueError, RecursionError."""
    value = json.loads(text)
    if "\\u" not in text:
        return value
    written = json.dumps(value, ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raises Invalid."""
    try:
        value = parse(raw.decode())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Invalid("The body is no JSON object.")
    return value
