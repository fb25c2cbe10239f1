"""Both clients, which differ only in `async` and `await`: a class for each namespace, and the client over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from kheish.domain.definitions import KINDS
from kheish.generate.client.methods import DEFINITIONS, KIND, Argument, Method
from kheish.generate.client.requests import passed, sent, shape_names, signature
from kheish.generate.client.table import BASES
from kheish.generate.client.text import docstring, imports


@dataclass(frozen=True, slots=True)
class Twin:
    """The words that differ between the two clients."""

    about: str
    prefix: str
    module: str
    define: str
    wait: str
    iterator: str

    def named(self, name: str) -> str:
        """Return the name of a class."""
        return f"{self.prefix}{name}"


BLOCKING = Twin("`Kheish`: the blocking client.", "", "connection", "def", "", "Iterator")
ASYNCHRONOUS = Twin(
    "`AsyncKheish`: the client for asyncio.", "Async", "aio_connection", "async def", "await ", "AsyncIterator"
)


def body(methods: Sequence[Method], twin: Twin) -> str:
    """Return the module."""
    spaces = {name: list(group) for name, group in groupby(methods, key=lambda method: method.namespace)}
    root = spaces.pop("", [])
    order = sorted(spaces, key=lambda name: (name != DEFINITIONS, name))  # Playbooks are Definitions
    classes = ["\n".join(_namespace(name, spaces[name], twin)) for name in order]
    text = "\n\n\n".join([*classes, "\n".join(_client(root, sorted(spaces), twin))])
    by_hand = {twin.named(name) for name in ("Connection", "Resource", "Run", *BASES.values())} | {"login_link"}
    shapes = {name for method in methods for name in shape_names(method)} - {"Stream", "Text"}
    head = [
        docstring(f"{twin.about} Each method sends one request of `requests.py`."),
        "\nfrom __future__ import annotations\n",
        *imports({"collections.abc": (twin.iterator, "Mapping", "Sequence")}, text),
        "from functools import cached_property",
        *imports({"typing": ("Any", "Literal", "TYPE_CHECKING", "Unpack")}, f"{text} TYPE_CHECKING"),
        "\nfrom kheish.client import requests",
        *imports({f"kheish.client.{twin.module}": by_hand}, text),
        "\nif TYPE_CHECKING:",
        *imports({"kheish.client.call": ("Text",)}, text, "    "),
        *imports({"kheish.client.shapes": shapes}, text, "    "),
        *imports({"kheish.client.sse": ("Event",)}, text, "    "),
    ]
    return "\n".join(head) + f"\n\n\n{text}\n"


def _namespace(name: str, methods: Sequence[Method], twin: Twin) -> Iterator[str]:
    base = DEFINITIONS.capitalize() if name in KINDS else BASES.get(name, "Resource")
    yield f"class {twin.named(name.capitalize())}({twin.named(base)}):"
    if name == DEFINITIONS:
        yield docstring("Definitions of one kind. Content is a mapping, or the file's own text, kept as it is.", "    ")
        yield ""
        yield f"    def __init__(self, client: {twin.named('Connection')}, {KIND}: str) -> None:"
        yield "        super().__init__(client)"
        yield f"        self.{KIND} = {KIND}\n"
    elif name in KINDS:
        yield docstring(f"The operations of `{name}`, including those of any Definition.", "    ")
        yield ""
        yield f"    def __init__(self, client: {twin.named('Connection')}) -> None:"
        yield f"        super().__init__(client, {name!r})\n"
    else:
        yield docstring(f"The operations of `{name}`.", "    ")
        yield ""
    for method in methods:
        yield from _method(method, twin, "self._client", "self._send")
        for choice in method.choices:
            yield from _preset(method, choice, twin)


def _client(root: Iterable[Method], names: Iterable[str], twin: Twin) -> Iterator[str]:
    base = twin.named("Connection")
    yield f"class {twin.named('Kheish')}({base}):"
    yield f"    __doc__ = {base}.__doc__\n"
    for name in names:
        name_of_class = twin.named(name.capitalize())
        if name == DEFINITIONS:
            yield f"    def {name}(self, {KIND}: str) -> {name_of_class}:"
            kinds = ", ".join(f"`{kind}`" for kind in KINDS)
            yield docstring(f"Return the Definitions of one kind: {kinds}.", "    " * 2)
            yield f"        return {name_of_class}(self, {KIND})\n"
        else:
            yield "    @cached_property"
            yield f"    def {name}(self) -> {name_of_class}:"
            yield docstring(f"The operations of `{name}`.", "    " * 2)
            yield f"        return {name_of_class}(self)\n"
    for method in root:
        yield from _method(method, twin, "self", "self.send")


def _method(method: Method, twin: Twin, client: str, send: str) -> Iterator[str]:
    bound = [_bound(argument) for argument in sent(method)] if method.namespace == DEFINITIONS else sent(method)
    public = [argument for argument in method.arguments if not _is_bound(method, argument)]
    call = f"requests.{method.operation.name}({passed(bound)})"
    declared = ", ".join(part for part in ("self", signature(public)) if part)
    if method.is_stream:
        yield f"    def {method.name}({declared}) -> {twin.iterator}[Event]:"
        yield docstring(_about_stream(method), "    " * 2)
        yield f"        return {client}.follow({call}, after=after)\n"
        return
    yield f"    {twin.define} {method.name}({declared}) -> {_gives(method, twin)}:"
    yield docstring(method.operation.about, "    " * 2)
    result = f"{twin.wait}{send}({call})"
    if through := method.row.through:
        is_class = through[0].isupper()
        result = f"{twin.named(through) if is_class else twin.wait + through}({client}, {result})"
    yield f"        {'' if method.result == 'None' else 'return '}{result}\n"


def _about_stream(method: Method) -> str:
    return (
        f"{method.operation.about} Those after `after` (0: all; None: from now on), then live ones, without end; "
        "continues over cuts and daemon restarts."
    )


def _gives(method: Method, twin: Twin) -> str:
    through = method.row.through
    return method.row.gives or (twin.named(through) if through else method.result)


def _is_bound(method: Method, argument: Argument) -> bool:
    return method.namespace == DEFINITIONS and argument.place == "path" and argument.field == KIND


def _bound(argument: Argument) -> Argument:
    is_kind = argument.place == "path" and argument.field == KIND
    return replace(argument, name=f"self.{KIND}") if is_kind else argument


def _preset(method: Method, choice: str, twin: Twin) -> Iterator[str]:
    """Yield a method with a preset choice."""
    chosen = [
        replace(argument, name=repr(choice)) if argument.field == method.row.presets else argument
        for argument in method.arguments
    ]
    rest = [argument for argument in method.arguments if argument.field != method.row.presets]
    yield f"    {twin.define} {choice}({', '.join(('self', signature(rest)))}) -> {method.result}:"
    yield docstring(f"{method.name.capitalize()} with the {method.row.presets} `{choice}`.", "    " * 2)
    yield f"        return {twin.wait}self.{method.name}({passed(chosen)})\n"
