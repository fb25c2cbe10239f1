"""Many deliveries over kills, and many observations: no loss, and nothing twice without saying so."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, until
from tests.support.receiver import Got, Reply, receive
from tests.system.conftest import Fresh

pytestmark = pytest.mark.campaign

TARGETS = 50
OPEN = ["pending", "delivering", "retrying"]


def pages(listed: Callable[..., Any]) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        page = listed(limit=200, cursor=cursor)
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return found


@pytest.mark.parametrize(("runs", "kills"), [(200, 15)])
def test_deliveries_over_kills_are_never_lost_and_twice_only_where_the_end_is_unknown(
    fresh: Fresh, runs: int, kills: int
) -> None:
    arrived: Counter[str] = Counter()
    chance, lock_step = random.Random(7), itertools.count()

    def answer(got: Got) -> Reply:
        fate = chance.random()
        if fate < 0.02:
            return Reply(503)
        arrived[got.headers["webhook-id"]] += 1
        return Reply(drop=True) if next(lock_step) % 100 == 0 else Reply(204)

    with receive(answer) as site:
        daemon = fresh(routes={"hello": [{"text": "hi"}]}, config={"network": {"allow": ["127.0.0.1"]}})
        hook = {"kind": "http", "url": f"{site.url}/in", "retry": {"max": "1s", "give_up": "24h"}}
        daemon.client.definitions("outputs").put("hook", hook)
        targets = [{"output": "hook", "url": f"{site.url}/in/{number}"} for number in range(TARGETS)]
        for number in range(runs):
            daemon.client.sessions.create(f"s{number}", route="hello", reply_targets=targets)
            daemon.client.runs.start(f"s{number}", "go", idempotency_key=f"k{number}")
        began, total = time.monotonic(), runs * TARGETS
        for kill in range(1, kills + 1):
            until(lambda at=kill: len(arrived) >= total * at // (kills + 2), 300, what=f"arrivals before kill {kill}")
            daemon.restart()
        until(lambda: not daemon.client.deliveries.list(state=OPEN, limit=1)["items"], 600, what="none is open")
        until(lambda: len(arrived) == total, 60, what=f"{total} arrived, not {len(arrived)}")
        took = time.monotonic() - began
        found = pages(daemon.client.deliveries.list)
    assert len(found) == len({one["delivery_id"] for one in found}) == total
    assert {one["state"] for one in found} == {"delivered"}
    unclear = {one["delivery_id"] for one in found if one["unknown_end"]}
    doubled = {id for id, count in arrived.items() if count > 1}
    assert arrived.keys() == {one["delivery_id"] for one in found} and doubled <= unclear
    sys.stderr.write(
        f"\n{total} deliveries over {kills} kills in {took:.0f} s; {len(doubled)} twice, {len(unclear)} marked\n"
    )


def newest_purged(daemon: Daemon) -> int:
    """The place of the newest observation without its content; 0 if all have theirs."""
    gone = daemon.client.observations.list("app", state="purged", limit=1)["items"]
    return int(gone[0]["number"]) if gone else 0


@pytest.mark.parametrize(("count", "kept"), [(100_000, 100_000), (1_000_000, 10_000)])
def test_a_long_log_is_observed_whole_in_its_order_and_kept_within_its_bounds(
    fresh: Fresh, tmp_path: Path, count: int, kept: int
) -> None:
    daemon = fresh(routes={"hello": [{"text": "hi"}]})
    file = {"kinds": ["log"], "retention": {"count": kept}, "rate": "1000000/s"}
    assert daemon.http("PUT", "/v1/sources/app", file).status_code == 201
    log = tmp_path / "app.log"
    with log.open("w") as out:
        out.writelines(f"2026-11-29T12:00:00Z INFO request {number} took {number % 97} ms\n" for number in range(count))
    began = time.monotonic()
    with log.open() as lines:
        words = [sys.executable, "-m", "kheish.cli.main", "--state-root", str(daemon.root), "observe", "app", "-"]
        done = subprocess.run(words, stdin=lines, env=daemon.environment(), capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{count} observations stored" in done.stdout
    oldest = count - kept
    until(lambda: newest_purged(daemon) == oldest, 300, what=f"the oldest {oldest} are purged")
    found = pages(
        partial(daemon.client.observations.list, "app")
    )  # newest first; the record stays when its content is purged
    assert [one["number"] for one in found] == list(range(count, 0, -1))
    assert [one["state"] for one in found] == ["retained"] * kept + ["purged"] * oldest
    shown = [int(str(one["text"]).split()[3]) for one in found[:kept]]
    assert shown == list(range(count - 1, oldest - 1, -1))
    sys.stderr.write(f"\n{count} observations in {took:.0f} s: {count / took:.0f}/s\n")
