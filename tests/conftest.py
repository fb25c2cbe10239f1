"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Started in the background or by nohup, pytest inherits ignored signals, and would hand that on to every daemon and
# command line that tests press Ctrl-C on.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# `make test` tries some examples of each property, other ones in each run; `make properties` (PROPERTIES) tries many. A
# deadline for each example would measure how busy the machine is, and so does the check of how fast examples are made.
settings.register_profile(
    "kheish",
    max_examples=int(os.environ.get("KHEISH_TEST_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kheish")


DESCRIPTORS = Path("/proc/self/fd")
#: a module has these if it starts daemons, directly or by other modules of the tests
STARTS_DAEMONS = "tests.support.daemon"
#: seconds of a test of a module that is not recorded in DURATIONS, with daemons and without
WITH_DAEMONS, WITHOUT = 1.0, 0.04
#: a line for each module that takes long: its seconds, its path. `make durations` writes it
DURATIONS = Path(__file__).with_name("durations.txt")

gc.disable()  # what collection imports stays


def pytest_collection_finish() -> None:
    gc.freeze()  # and is no work for later collections
    gc.enable()


@cache
def helpers(module: str) -> frozenset[str]:
    """Return the modules of the tests whose names a module of the tests uses."""
    values = vars(sys.modules[module]).values()
    names = {getattr(value, "__module__", None) or getattr(value, "__name__", None) for value in values}
    return frozenset(name for name in names if isinstance(name, str) and name.startswith("tests.") and name != module)


def is_long(module: str) -> bool:
    """Return whether a test module uses real daemons."""
    known, left = {module}, [module]
    while left and STARTS_DAEMONS not in known:
        new = helpers(left.pop()) - known
        known |= new
        left += new
    return STARTS_DAEMONS in known


def recorded() -> dict[Path, float]:
    """Return the seconds of the modules that are recorded."""
    lines = (line.split() for line in DURATIONS.read_text().splitlines())
    return {DURATIONS.parent / path: float(seconds) for seconds, path in lines}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take longest: as recorded, or estimated by their tests and daemons.

    Workers take one module after another (`make test`), so that they end with the shortest, at about the same time.
    """
    sizes = Counter(item.path for item in items)
    named = {item.path: item.module.__name__ for item in items if isinstance(item, pytest.Function)}
    seconds = {
        path: sizes[path] * (WITH_DAEMONS if path in named and is_long(named[path]) else WITHOUT) for path in sizes
    } | recorded()
    places = {path: place for place, path in enumerate(sorted(sizes, key=lambda path: (-seconds[path], path)))}
    items.sort(key=lambda item: places[item.path])  # stable: the order within a module is as before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Record how long modules took, where `make durations` asks for it."""
    is_nested = "PYTEST_CURRENT_TEST" in os.environ  # a test runs some tests of a copy of the tree
    if os.environ.get("KHEISH_TEST_DURATIONS") != "record" or is_nested:
        return
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0].removeprefix("tests/")] += report.duration
    longest = sorted(((round(taken), path) for path, taken in seconds.items() if taken >= 5), reverse=True)
    lines = [f"{taken:4} {path}\n" for taken, path in longest]
    DURATIONS.write_text("".join(lines))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close what finished tests of a module left to the garbage collector: connections to indexes, in cycles."""
    ends_module = nextitem is None or nextitem.path != item.path
    if ends_module and DESCRIPTORS.is_dir() and len(list(DESCRIPTORS.iterdir())) > 300:
        gc.collect()
