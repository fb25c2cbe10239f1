"""Some seeded rounds of killing (`make crash` plays more); and 64 sessions at once through a kill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash import checker
from tests.crash.campaign import Campaign
from tests.support.daemon import Daemon, allow, bash, until

SEED = 1


@pytest.mark.crash
@pytest.mark.demand(1)
@pytest.mark.demand(2)
@pytest.mark.demand(3)
@pytest.mark.demand(13)
@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.campaign)])
def test_rounds_of_killing_lose_nothing_and_double_nothing(tmp_path: Path, rounds: int) -> None:
    told: list[str] = []
    campaign = Campaign(tmp_path, SEED, tell=told.append, has_workers=rounds > 10)

    findings = campaign.run(rounds)

    assert not findings, "\n".join([*map(str, findings[:20]), *told, f"seed {SEED}"])
    few = rounds < 10  # a slow machine may reach no failpoint in them, and may kill before a rare call is answered
    assert few or any(kind.startswith("failpoint") for kind in campaign.tally.kills), campaign.tally.kills
    assert campaign.tally.lost == campaign.tally.doubled == 0 < campaign.tally.clones
    assert campaign.tally.acknowledged["runs"] > 0
    assert few or (campaign.outbox.arrived and campaign.served.answers)
    assert few or min(campaign.tally.acknowledged.values()) > 0, campaign.tally.acknowledged


@pytest.mark.crash
@pytest.mark.demand(3)
@pytest.mark.parametrize("each", [2, pytest.param(5, marks=pytest.mark.campaign)])
def test_64_sessions_at_once_keep_their_order_through_a_kill(tmp_path: Path, each: int) -> None:
    routes = {"ledger": [bash("echo {{input}} >> ledger.txt"), {"text": "done"}]}
    names = [f"s{number}" for number in range(64)]
    with Daemon.fresh(tmp_path, routes=routes, permissions=allow("echo *")) as daemon:

        def submit(name: str) -> list[str]:
            daemon.client.sessions.create(name)
            return [daemon.client.runs.start(name, f"{name}.{number}").run_id for number in range(each)]

        with ThreadPoolExecutor(16) as pool:
            submitted = dict(zip(names, pool.map(submit, names), strict=True))
        daemon.restart()
        open_runs = lambda: sum(  # noqa: E731
            len(daemon.client.runs.list(status=status, limit=1)["items"]) for status in ("queued", "running")
        )
        until(lambda: not open_runs(), 60, what="all runs have ended")
        daemon.quiet()

        acks = {"runs": [{"id": run, "session": name} for name, runs in submitted.items() for run in runs]}
        findings = checker.check(daemon.root, acks, daemon.workspace / "ledger.txt")
        finished = [daemon.client.runs.list(session=name)["items"] for name in names]

    assert not findings, findings[:10]
    assert [[run["run_id"] for run in reversed(runs)] for runs in finished] == list(submitted.values())
    assert {run["status"] for runs in finished for run in runs} == {"completed"}
