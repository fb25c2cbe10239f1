"""Reactors hear the classes of entries that they react to, and no others."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from types import ModuleType

import pytest

from kheish.daemon import reactors
from kheish.daemon.channels import announcing
from kheish.daemon.ingress import asking, working
from kheish.daemon.reactors.base import Guard, Hearing, Reactor
from kheish.domain import events
from kheish.domain.events import Entry
from kheish.state.encoding import Recorded

REACTORS = [cls for _, cls in inspect.getmembers(reactors, inspect.isclass) if issubclass(cls, Reactor)]
#: modules that a reactor hands its batches on to
BELOW = {"Channels": (announcing,), "Ingress": (asking, working)}


def named(module: ModuleType) -> Iterator[type[events.Event]]:
    """Yield the classes of events that the patterns and the `isinstance` of a module name."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.MatchClass(cls=said) | ast.Call(func=ast.Name(id="isinstance"), args=[_, said]):
                found = eval(ast.unparse(said), vars(module))
                classes = found if isinstance(found, tuple) else (found,)
                yield from (one for one in classes if isinstance(one, type) and issubclass(one, events.Event))


@pytest.mark.parametrize("cls", REACTORS, ids=lambda cls: cls.__name__)
def test_a_reactor_hears_what_it_reacts_to(cls: type[Reactor]) -> None:
    modules = [inspect.getmodule(cls), *BELOW.get(cls.__name__, ())]
    wanted = {one for module in modules if module is not None for one in named(module)}
    declared = cls.reacts_to
    if declared is not None and "reacts_to" in vars(cls):
        assert wanted <= declared, "named in the module, but not in `reacts_to`"
    assert (cls.heard is Reactor.heard) == (declared == frozenset() and "self.reacts_to" not in inspect.getsource(cls))


class Listening(Reactor):
    def __init__(self, *classes: type[events.Event]) -> None:
        self.reacts_to = frozenset(classes) if classes else None
        self.batches: list[list[int]] = []

    def heard(self, batch: Sequence[Recorded]) -> None:
        self.batches.append([item.entry.n for item in batch])


def recorded(n: int, event: events.Event) -> Recorded:
    return Recorded(Entry(n=n, seq=n, at="", session=None, run=None, actor="daemon", event=event), "", b"")


def test_each_reactor_gets_its_entries_of_a_batch_in_order() -> None:
    one, deaf, all_of_them = Listening(events.DaemonPaused, events.DaemonResumed), Reactor(), Listening()
    hearing = Hearing([one, deaf, all_of_them], Guard(pytest.fail))
    kinds = [events.DaemonPaused(route=None), events.DaemonResumed(route=None), events.FilesPutBack(paths=())]
    hearing([recorded(n, event) for n, event in enumerate(kinds)])
    hearing([recorded(9, kinds[2])])
    assert one.batches == [[0, 1]]
    assert all_of_them.batches == [[0, 1, 2], [9]]


def test_a_class_is_heard_with_the_one_that_it_extends() -> None:
    one = Listening(events.SessionCreated)
    forked = object.__new__(events.SessionForked)
    Hearing([one], Guard(pytest.fail))([recorded(1, forked)])
    assert one.batches == [[1]]
