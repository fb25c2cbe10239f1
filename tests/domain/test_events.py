"""Every kind of event is read back from its journal line as it was."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from kheish.domain import events
from kheish.errors import Damaged
from kheish.state import encoding

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WHOLE = st.integers(-(2**53), 2**53)
PARTS = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | WHOLE | PARTS | WORDS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2))
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS, int: WHOLE, float: PARTS, bool: st.booleans(), type(None): st.none(), Any: JSON,
}  # fmt: skip


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, as far as events use types."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return values(args[0])
    if origin in (Union, types.UnionType):
        return st.one_of([values(one) for one in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple and args[-1] is not Ellipsis:
        return st.tuples(*map(values, args))
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(WORDS, values(args[1]), max_size=3)
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", sorted(events.kinds()))
@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_event_survives_its_journal_line(kind: str, data: st.DataObject) -> None:
    event = data.draw(values(events.kinds()[kind]))
    session = None if event.stream else "s"
    draft = event.on(session, "run_1" if session else None, by="test")
    recorded = encoding.encode(draft, 7, 3, "2026-11-22T12:00:00.000001Z", "x/journal", lambda line: line)
    read = events.decode(orjson.loads(recorded.line))
    assert read == recorded.entry
    assert recorded.spills or recorded.entry.event == event
    assert orjson.dumps(read.event) == orjson.dumps(event) or recorded.spills


def test_the_keys_of_a_line_have_their_order() -> None:
    draft = events.RunStarted().on("s", "run_1")
    line = encoding.encode(draft, 7, 3, "2026-11-22T12:00:00.000001Z", "x/journal", lambda raw: raw).line
    assert line == (
        b'{"v":1,"n":7,"seq":3,"at":"2026-11-22T12:00:00.000001Z","kind":"run.started","session":"s","run":"run_1",'
        b'"actor":"daemon","data":{}}'
    )
    stream = encoding.encode(events.DaemonStopped(reason="x").on(), 8, 1, "t", "journals/daemon", lambda raw: raw)
    assert list(orjson.loads(stream.line)) == ["v", "n", "seq", "at", "kind", "stream", "actor", "data"]


def test_a_line_of_an_older_version_gets_defaults() -> None:
    line = {"n": 1, "seq": 1, "at": "t", "session": "s", "run": None, "actor": "x", "kind": "session.ended", "data": {}}
    assert events.decode(line).event == events.SessionEnded(reason=None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"kind": "run.dreamt", "data": {}}, "unknown kind 'run.dreamt'"),
        ({"kind": "run.waiting", "data": {}}, "cannot be read"),
        ({"kind": "run.waiting", "data": {"status": 3}}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_damage(line: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Damaged, match=complaint):
        events.decode({"n": 5, "seq": 1, "at": "t", "actor": "x", **line})


#: texts in fields that may be spilled which are bounded where they come in
BOUNDED = {"id", "name", "actor", "source", "asset_id", "observation_ids"}
#: the facts of a skill, which its SKILL.md bounds
OF_SKILLS = {"name", "source", "dir", "file", "digest", "place", "allowed", "disallowed"}


def unspilled(kind: Any, name: str) -> Iterator[str]:
    """The names of texts that are read back as texts only."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        args = args[:1]
    if kind is str:
        yield name
    elif dataclasses.is_dataclass(kind):
        for key, hint in get_type_hints(kind, include_extras=True).items():
            if get_origin(hint) is not ClassVar and key not in encoding.KEPT:
                yield from unspilled(hint, key)
    elif events.Spilled not in args:
        for one in args[1:] if origin is dict else args:
            yield from unspilled(one, name)


def test_each_long_text_in_a_field_that_is_spilled_may_be_a_reference() -> None:
    for cls in events.kinds().values():
        hints = get_type_hints(cls, include_extras=True)
        for name in cls.spillable:
            assert set(unspilled(hints[name], name)) <= (OF_SKILLS if name == "skills" else BOUNDED), (cls.kind, name)


def test_kinds_are_unique_and_named_after_their_noun() -> None:
    classes = [cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, events.Event)]
    named = [cls for cls in classes if cls.kind]
    assert len(named) == len({cls.kind for cls in named}) == len(events.kinds())
