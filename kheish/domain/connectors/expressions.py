"""The check of JMESPath expressions when a file is read: what can never be applied to any body is the file's error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def check(text: str) -> str:
    """Return an expression. Raises ValueError for one that is not JMESPath, or that calls a function wrongly."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        tree = jmespath.compile(text).parsed
    except JMESPathError as error:
        why = str(error).partition("\n")[0].removeprefix("Invalid jmespath expression: ").rstrip(":. ")
        raise ValueError(f"is no JMESPath expression: {why}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    for node in _calls(tree):
        _check_call(str(node["value"]), len(node["children"]))
    return text


def _calls(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls of functions in a tree."""
    open_nodes: list[Any] = [tree]
    while open_nodes:
        node = open_nodes.pop()
        if not isinstance(node, Mapping):
            continue
        if node.get("type") == "function_expression":
            yield node
        open_nodes += node.get("children", ())


def _check_call(name: str, given: int) -> None:
    from jmespath.functions import Functions

    known: Mapping[str, Any] = Functions.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"calls {name}(), which JMESPath does not have; it has {', '.join(sorted(known))}")
    signature = known[name]["signature"]
    is_open = bool(signature) and bool(signature[-1].get("variadic"))
    if given < len(signature) if is_open else given != len(signature):
        raise ValueError(f"calls {name}() with {given} arguments; it needs {len(signature)}{' or more' * is_open}")
