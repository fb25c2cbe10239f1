"""The router: a tree of the segments of all paths.

Falcon's own compiles its tree to Python code and looks at each of 25 HTTP methods of each path: a third of the event
loop's time from the daemon's start to its first answer. This one finds a path as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from falcon.routing import map_http_methods, set_default_responders

#: what Falcon wants of a path: its resource, its responders by method, the values of its variables, its template
Found = tuple[object, dict[str, Any], dict[str, str], str]
#: how the name of a variable ends that takes the rest of a path
_REST = ":path"


@dataclass(slots=True)
class _Node:
    """A segment of paths. `route` is the path that ends here: its resource, responders and template."""

    literals: dict[str, _Node] = field(default_factory=dict)
    variable: tuple[str, _Node] | None = None
    rest: tuple[str, _Node] | None = None
    route: tuple[object, dict[str, Any], str] | None = None


class Router:
    """The paths with their handlers. Of two paths that fit, the one with the literal segment is found."""

    def __init__(self) -> None:
        self._root = _Node()

    def add_route(self, uri_template: str, resource: object, **_: Any) -> None:
        """Add a path; a segment of it is a literal, `{name}`, or at the end `{name:path}`."""
        responders = map_http_methods(resource)
        set_default_responders(responders, asgi=True)
        node = self._root
        for segment in _segments(uri_template):
            node = _child(node, segment)
        assert node.route is None, f"{uri_template} is there twice"
        node.route = (resource, responders, uri_template)

    def find(self, uri: str, req: object = None) -> Found | None:
        """Return the handlers of a path, or None."""
        values: dict[str, str] = {}
        route = _route(self._root, _segments(uri), 0, values)
        if route is None:
            return None
        resource, responders, template = route
        return resource, responders, values, template


def _segments(path: str) -> list[str]:
    return path.lstrip("/").split("/")


def _child(node: _Node, segment: str) -> _Node:
    """Return the node of a segment below another one, made if there is none."""
    if not segment.startswith("{"):
        return node.literals.setdefault(segment, _Node())
    name = segment[1:-1]
    if name.endswith(_REST):
        node.rest = (name.removesuffix(_REST), _Node())
        return node.rest[1]
    if node.variable is None:
        node.variable = (name, _Node())
    assert node.variable[0] == name, f"{{{name}}} is {{{node.variable[0]}}} in another path"
    return node.variable[1]


def _route(
    node: _Node, segments: Sequence[str], place: int, values: dict[str, str]
) -> tuple[object, dict[str, Any], str] | None:
    """Return the route of the segments from a place on, and collect the values of its variables."""
    if place == len(segments):
        return node.route
    segment = segments[place]
    literal = node.literals.get(segment)
    if literal is not None and (found := _route(literal, segments, place + 1, values)) is not None:
        return found
    if node.variable is not None:
        name, below = node.variable
        if (found := _route(below, segments, place + 1, values)) is not None:
            values[name] = segment
            return found
    if node.rest is not None:
        name, below = node.rest
        values[name] = "/".join(segments[place:])
        return below.route
    return None
