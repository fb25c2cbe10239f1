"""The generated client: as the operations have it, the same in both twins, light, and every operation within reach."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kheish.api.operations import OPERATIONS
from kheish.client import aio, requests, shapes, sync
from kheish.client.call import Call, Stream
from kheish.domain.definitions import KINDS
from kheish.generate import client
from kheish.generate.client.methods import Method, derived
from kheish.generate.client.shapes import Shapes
from kheish.generate.client.table import BASES, OPEN, PAGES, ROWS, SHAPES, TOGETHER

REACHED = [operation for operation in OPERATIONS if operation.name not in PAGES]
#: by hand, and not the same: an address may need a look at the disk, and only httpx has connections to close
ONLY = {"sync": {"url"}, "aio": {"address", "close"}}


@pytest.fixture(scope="module")
def methods() -> list[Method]:
    return derived(OPERATIONS, Shapes.of(OPERATIONS))


def classes(module: Any) -> dict[str, type]:
    """The classes of a twin, by the names of the blocking one."""
    found = {name.removeprefix("Async"): value for name, value in vars(module).items() if inspect.isclass(value)}
    return {name: value for name, value in found.items() if value.__module__ == module.__name__}


def public(cls: type) -> dict[str, Any]:
    """Methods and properties, those of the hand-written bases too."""
    return {name: inspect.getattr_static(cls, name) for name in dir(cls) if not name.startswith("_")}


def signature(value: Any) -> str:
    """How it is called, without what makes the asynchronous one asynchronous."""
    function = getattr(value, "func", None) or getattr(value, "fget", None) or value
    text = str(inspect.signature(function))
    return text.replace("Async", "").replace("Generator[Event, None]", "Iterator[Event]")


def test_the_files_are_what_the_operations_say() -> None:
    old = [name for name, text in client.files().items() if (client.FOLDER / name).read_text() != text]
    assert not old, f"run: python -m kheish.generate.client ({', '.join(old)})"


def test_main_writes_what_changed_and_only_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client.main(tmp_path)
    (tmp_path / "aio.py").write_text("old")
    capsys.readouterr()
    client.main(tmp_path)
    assert capsys.readouterr().out == "aio.py is written.\n"


def test_both_twins_have_the_same_methods_with_the_same_arguments() -> None:
    blocking, other = classes(sync), classes(aio)
    assert set(blocking) == set(other)
    for name, cls in blocking.items():
        one, two = public(cls), public(other[name])
        only = {"sync": set(), "aio": set()} if name == "Agents" else ONLY  # agents have a `close` of their own
        assert set(one) - only["sync"] == set(two) - only["aio"], name
        for method in set(one) & set(two):
            assert signature(one[method]) == signature(two[method]), f"{name}.{method}"
            assert (one[method].__doc__ is None) == (two[method].__doc__ is None), f"{name}.{method}"


@pytest.mark.parametrize("operation", REACHED, ids=lambda operation: operation.name)
def test_every_operation_is_reached_by_both(operation: Any, methods: list[Method]) -> None:
    reaching = [method for method in methods if operation.name in method.endpoint.stands_for]
    assert reaching
    for method in reaching:
        for module in (sync, aio):
            name = f"{'Async' if module is aio else ''}{method.namespace.capitalize() or 'Kheish'}"
            assert callable(getattr(getattr(module, name), method.name)), f"{name}.{method.name}"
        request = built(method, operation)
        assert request.path == re.sub(r"{\w+}", "x", operation.path)
        assert not isinstance(request, Call) or request.method == operation.method


def built(method: Method, operation: Any) -> Call[Any] | Stream:
    """The request with `x` for each parameter; what makes it one of several is what the operation's path has."""
    place = dict(zip(method.operation.path.split("/"), operation.path.split("/"), strict=True))
    fixed = {name: value for name, value in place.items() if not value.startswith("{")}
    values: dict[str, Any] = {
        one.name: fixed.get(f"{{{one.field}}}", "x") if one.place == "path" else "x"
        for one in method.arguments
        if one.default is None and one.place not in ("changes", "query")
    }
    required = {one.name: "x" for one in method.arguments if one.default is None and one.place == "query"}
    request: Call[Any] | Stream = getattr(requests, method.operation.name)(**values, **required)
    path, _, query = request.path.partition("?")
    assert bool(query) == bool(required)
    return replace(request, path=path)


def test_the_shapes_have_every_field_of_their_models() -> None:
    for operation in REACHED:
        for model, mode in ((operation.body, "validation"), (operation.answer_model, "serialization")):
            name = model.__name__.removesuffix("View") if model is not None else "Free"
            if name in OPEN:
                continue
            assert model is not None
            cls = getattr(shapes, SHAPES.get(name, name))
            schema = model.model_json_schema(mode=mode)
            hints = typing.get_type_hints(cls, include_extras=True)
            absent = {field for field, hint in hints.items() if typing.get_origin(hint) is typing.NotRequired}
            assert set(hints) == set(schema["properties"]), name
            assert absent == set(schema["properties"]) - set(schema.get("required", ())), name


def test_every_type_of_the_twins_has_a_meaning() -> None:
    words = {**vars(shapes), **{name: getattr(typing, name) for name in ("Any", "Literal", "Unpack")}}
    for module in (sync, aio):
        for cls in classes(module).values():
            for name, value in vars(cls).items():
                if inspect.isfunction(value) and not name.startswith("_"):
                    hints = {"Text": str, "Event": str, **words, **vars(module)}
                    # `list` within the class is its method, as it is for type checkers
                    assert typing.get_type_hints(value, hints, dict(vars(cls)))


def test_importing_the_client_brings_nothing_heavy() -> None:
    heavy = ("pydantic", "falcon", "httpx", "asyncio", "kheish.api", "kheish.domain", "kheish.client.shapes")
    code = f"import sys, kheish.client.sync; print([name for name in {heavy!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def like(known: str, name: str, path: str) -> Any:
    """An operation that takes and answers the same as a known one."""
    (operation,) = [operation for operation in OPERATIONS if operation.name == known]
    return replace(operation, name=name, path=path)


def test_a_new_noun_needs_no_row() -> None:
    one = "/v1/widgets/{widget_id}"
    trial = [
        like("list_runs", "list_widgets", "/v1/widgets"),
        like("get_session", "get_widget", one),
        like("fork_session", "turn_widget", f"{one}/turn"),
        like("cancel_runs", "turn_widgets", "/v1/widgets/turn"),
        like("list_tasks", "list_turns", f"{one}/turns"),
        like("run_events", "widget_events", f"{one}/events"),
        like("revoke_token", "delete_widget", one),
    ]
    every = [*OPERATIONS, *trial]
    made = [method for method in derived(every, Shapes.of(every)) if method.namespace == "widgets"]
    assert {method.name: method.result for method in made} == {
        "list": "Page[RunView]", "get": "Session", "turn": "Session", "turn_many": "Page[RunView]",
        "turns": "Page[Task]", "events": "Stream", "delete": "None",
    }  # fmt: skip
    (turn,) = [method for method in made if method.name == "turn"]
    assert [argument.declared for argument in turn.arguments] == [
        "widget_id: str", "idempotency_key: str | None = None", "at: str | None = None",
        "session_id: str | None = None", "title: str | None = None",
    ]  # fmt: skip


def test_two_operations_with_one_method_are_refused() -> None:
    every = [*OPERATIONS, like("get_trust", "get_trust", "/v1/trust/{name}/again")]
    with pytest.raises(ValueError, match=r"both trust\.get"):
        derived(every, Shapes.of(every))


def test_the_table_names_operations_that_there_are(methods: list[Method]) -> None:
    names = {method.operation.name for method in methods}
    assert set(ROWS) | {name for name, _ in TOGETHER} <= names
    assert set(BASES) <= {method.namespace for method in methods}
    assert {"definitions", "playbooks"} <= {method.namespace for method in methods} and "playbooks" in KINDS
