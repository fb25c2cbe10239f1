"""A state in a folder, with the session `s` and the route `local`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stateful import Played


@pytest.fixture
def p(tmp_path: Path) -> Iterator[Played]:
    played = Played(tmp_path)
    played.session()
    yield played
    played.index.close()
