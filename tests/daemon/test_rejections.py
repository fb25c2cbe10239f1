"""Refused requests of connectors: each is counted, and a minute has two entries in the audit at most."""

from __future__ import annotations

from pathlib import Path

from kheish.daemon.ingress.rejections import Rejections
from tests.support.stateful import Played


def test_a_flood_of_refusals_has_two_entries_in_a_minute(tmp_path: Path) -> None:
    now = 1_790_000_000.0
    p = Played(tmp_path, clock=lambda: now)
    refused = Rejections(p.state)
    for _ in range(150):
        refused.count("alerts", "10.0.0.7", "no valid bearer token")
    refused.count("other", "10.0.0.8", "stale")
    assert [one["target"] for one in p.data("audit.recorded")] == [
        "ingress/alerts: no valid bearer token", "ingress/other: stale"
    ]  # fmt: skip
    now += 61
    refused.flush()
    refused.flush(all=True)
    entries = p.data("audit.recorded")
    assert len(entries) == 3 and "149 more" in entries[-1]["target"] and entries[-1]["subject"] == "10.0.0.7"
    refused.count("alerts", "10.0.0.7", "again")
    assert len(p.data("audit.recorded")) == 4 and refused.counts == {"alerts": 151, "other": 1}
