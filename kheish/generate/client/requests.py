"""The functions of `requests.py`: each returns one request as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kheish.generate.client.methods import Argument, Method
from kheish.generate.client.text import docstring, imports

_HEAD = '''\
"""Each operation of the API as data: path, query, body, and how to read the reply. No I/O here."""

from __future__ import annotations

'''
_CALLS = (
    *("PATIENCE", "PUSHING", "YAML", "Call", "Stream", "Text", "define", "get", "given", "located", "quoted"),
    *("read_json", "read_bytes", "read_source", "read_text", "remove", "send"),
)


def body(methods: Iterable[Method]) -> str:
    """Return the module."""
    methods = sorted(methods, key=lambda method: method.operation.name)
    text = "\n\n\n".join("\n".join(_function(method)) for method in methods)
    shapes = {name for method in methods for name in shape_names(method)} - {"Stream", "Text"}
    runtime = {
        "collections.abc": ("Mapping", "Sequence"),
        "typing": ("Any", "Literal", "Unpack", "TYPE_CHECKING"),
    }
    lines = [*imports(runtime, f"{text} TYPE_CHECKING"), "", *imports({"kheish.client.call": _CALLS}, text), ""]
    checked = imports({"kheish.client.shapes": shapes}, text, "    ")
    return _HEAD + "\n".join([*lines, "if TYPE_CHECKING:", *checked]) + f"\n\n\n{text}\n"


def shape_names(method: Method) -> set[str]:
    """Return the words of the types that a method names and that begin with a capital letter."""
    types = " ".join([method.result, *(argument.type for argument in method.arguments)])
    words = set(re.findall(r"(?<!['\w])[A-Z]\w*", types))
    return words - {"Mapping", "Sequence", "Any", "Literal", "Unpack", "None"}


def signature(arguments: Iterable[Argument]) -> str:
    """Return the arguments as they are declared."""
    arguments = list(arguments)
    placed = [argument.declared for argument in arguments if argument.by_position]
    named = [argument.declared for argument in arguments if not argument.by_position and argument.place != "changes"]
    rest = [f"**{argument.declared}" for argument in arguments if argument.place == "changes"]
    return ", ".join([*placed, *(["*", *named] if named else []), *rest])


def passed(arguments: Iterable[Argument]) -> str:
    """Return the same arguments as passed on in a call."""
    return ", ".join(
        f"**{one.name}" if one.place == "changes" else one.name if one.by_position else f"{one.name}={one.name}"
        for one in arguments
    )


def sent(method: Method) -> list[Argument]:
    """Return the arguments of the request; a stream's position is managed by its follower."""
    return [argument for argument in method.arguments if argument.place != "after"]


def _function(method: Method) -> Iterator[str]:
    result = "Stream" if method.is_stream else f"Call[{method.result}]"
    yield f"def {method.operation.name}({signature(sent(method))}) -> {result}:"
    yield docstring(method.operation.about, "    ")
    yield f"    return {_made(method)}"


def _made(method: Method) -> str:
    operation = method.operation
    path = _path(method)
    query = _fields(method, "query")
    if method.is_stream:
        return f"Stream({path}, {query or '{}'})"
    options = [f"query={query}"] if query else []
    wait = next((one.name for one in method.arguments if one.field == "wait" and one.place == "query"), None)
    options += [f"wait={wait}"] if wait else []
    match operation.method:
        case "GET":
            return f"get({', '.join([path, *_reader(method), *options])})"
        case "DELETE":
            reader = ["read_json"] if operation.answer is not None else []
            path = f"located({path}, {query})" if query else path
            return f"remove({', '.join([path, *reader, *_preconditions(method)])})"
        case verb if operation.text:
            return f"define({', '.join([repr(verb), path, 'content', *options, *_preconditions(method)])})"
    options += [f"key={one.name}" for one in method.arguments if one.place == "key"] + _preconditions(method)
    if method.row.slow:
        always = method.row.slow == "always"
        options.append(f"patience={'PUSHING' if always else f'PUSHING if {method.row.slow} else PATIENCE'}")
    return f"send({', '.join([repr(operation.method), path, _content(method), *options])})"


def _content(method: Method) -> str:
    if any(argument.place == "changes" for argument in method.arguments):
        return "changes"
    fields = _fields(method, "body")
    return f"given({fields})" if fields else "{}"


def _reader(method: Method) -> list[str]:
    if method.endpoint.is_source:
        return ["read_source" if method.replaces_source else "read_text", "accept=YAML"]
    return [{"str": "read_text", "bytes": "read_bytes"}[method.result]] if method.result in ("str", "bytes") else []


def _preconditions(method: Method) -> list[str]:
    places = ("if_match", "if_none_match")
    return [f"{argument.name}={argument.name}" for argument in method.arguments if argument.place in places]


def _fields(method: Method, place: str) -> str:
    """Return the fields of one place as a dictionary's text."""
    pairs = [
        f"{one.field!r}: {one.name}" + (" or None" if one.default == "False" else "")
        for one in method.arguments
        if one.place == place
    ]
    return f"{{{', '.join(pairs)}}}" if pairs else ""


def _path(method: Method) -> str:
    path = method.operation.path
    names = {argument.field: argument.name for argument in method.arguments if argument.place == "path"}
    filled = re.sub(r"{(\w+)}", lambda found: f"{{quoted({names[found[1]]})}}", path)
    return f'f"{filled}"' if names else f'"{path}"'
