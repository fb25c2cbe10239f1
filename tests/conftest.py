"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import signal
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


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close what finished tests of a module left to the garbage collector: connections to indexes, in cycles."""
    ends_module = nextitem is None or nextitem.path != item.path
    if ends_module and DESCRIPTORS.is_dir() and len(list(DESCRIPTORS.iterdir())) > 300:
        gc.collect()
