"""`python -m tests.powercut --states 600 --daemons 20 --seed 1`: power cuts, and what is wrong after them."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.powercut import campaign, recovery, scenes

#: states of one scene; then another one is played
OF_A_SCENE = 150


def main() -> int:
    """Play scenes and cut them; returns 1 where a state did not recover."""
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--states", type=int, default=600, help="that the store's first steps recover")
    parser.add_argument("--daemons", type=int, default=20, help="that a real daemon recovers")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="powercut-"))
    began, bad, played = time.monotonic(), 0, 0
    rounds = max(1, -(-asked.states // OF_A_SCENE))
    for number in range(rounds):
        seed = asked.seed + number
        scene = scenes.play(Path(tempfile.mkdtemp(prefix="powercut-scene-")), seed, seconds=0.4)
        played += len(scene.ops)
        for recover, count in (
            (recovery.by_store, -(-asked.states // rounds)),
            (recovery.by_daemon, -(-asked.daemons // rounds)),
        ):
            for root, findings in campaign.run(scene, seed, count, recover=recover, keep=keep):
                bad += 1
                print(f"seed {seed}, {recover.__name__}, {root.parent.name}: {len(findings)} findings")
                print("".join(f"    {finding}\n" for finding in findings[:5]), end="", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{rounds} scenes of {played} operations, {asked.states} states by the store, {asked.daemons} by a daemon, "
        f"in {minutes:.1f} min: {bad} did not recover{f' (kept in {keep})' if bad else ''}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
