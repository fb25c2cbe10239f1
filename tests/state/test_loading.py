"""Reading a session back costs what follows its last checkpoint, however long it was before."""

from __future__ import annotations

import pytest

from kheish.domain import nouns
from kheish.domain.runs import Run
from kheish.domain.sessions.session import Session
from kheish.errors import Damaged
from kheish.state import loading
from kheish.store.log import journal
from tests.support.stateful import Played


@pytest.mark.demand(5)
def test_a_long_session_is_read_from_its_last_checkpoint_on(p: Played) -> None:
    from kheish.domain.sessions import session as sessions

    for number in range(2200):
        sessions.update(p.state, "s", {"title": f"number {number} {'x' * 100}"}, by="test")
    run = p.submit_run("go on")
    p.flush()
    folder = p.root / p.state.sessions["s"].path / "journal"
    parts = journal.segments(folder)
    for path in parts[:-2]:
        path.write_bytes(b"not a journal line\n")  # whoever read this would say so

    part = p.reloaded("s")

    assert len(parts) > 6
    assert part.tables[Session]["s"].settings["title"].startswith("number 2199 ")
    assert run.run_id in part.tables[Run]
    with pytest.raises(Damaged):
        loading.changes_after(p.root, nouns.NOUNS, "s", part.path, after_n=1)
