"""`python -m tests.crash --rounds N --seed S`: kill daemons under load, and look whether anything was lost.

Each state root lives through 50 rounds at most; the next has a seed of its own, made of S, so that a finding of the
third root of seed 7 is found again by `--seed 7.2`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.crash.campaign import Campaign
from tests.crash.journals import Finding
from tests.crash.tally import Tally

ROUNDS = 50  # of one state root
RESULTS = Path(__file__).parent.parent.parent / "bench" / "results"


def main() -> int:
    """Returns 1 where the checker found something; the state root is kept then, and named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25, metavar="N")
    parser.add_argument("--seed", default="1", metavar="S")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="what was counted (default: bench/results/crash-S.json)"
    )
    asked = parser.parse_args()
    tally, findings, left, number = Tally(), list[Finding](), asked.rounds, 0
    seed, _, begin = asked.seed.partition(".")
    while left > 0 and not findings:
        findings = play(f"{seed}.{number + int(begin or 0)}", min(left, ROUNDS), tally)
        left, number = left - ROUNDS, number + 1
    print(f"\n{tally.rounds} rounds, seed {asked.seed}: {len(findings)} findings\n\n{tally.table()}", flush=True)
    path = asked.json or RESULTS / f"crash-{asked.seed}.json"
    path.parent.mkdir(exist_ok=True)
    tally.write(path, seed=asked.seed)
    return 1 if findings else 0


def play(seed: str, rounds: int, tally: Tally) -> list[Finding]:
    """One state root."""
    folder = Path(tempfile.mkdtemp(prefix=f"kheish-crash-{seed}-"))
    campaign = Campaign(folder, seed, tell=lambda line: print(f"{seed} {line}", flush=True))
    try:
        findings = campaign.run(rounds)
    except Exception as error:  # noqa: BLE001 - a daemon that does not come back is what we look for
        traceback.print_exc()
        findings = [Finding("stopped", seed, f"the campaign could not go on: {error}")]
        campaign.tally.found(findings)
    tally.add(campaign.tally)
    if findings:
        print(f"the state root of seed {seed} is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return findings


if __name__ == "__main__":
    sys.exit(main())
