"""`python -m tests.fuzz --examples N --seed S`: ask a real daemon what nobody would; exit code 1 where it errs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz import fuzzing
from tests.support.daemon import Daemon


def main() -> int:
    """Returns schemathesis' exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=40, metavar="N", help="of each endpoint and phase")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--phases", default=fuzzing.PHASES, metavar="NAMES", help="of schemathesis, with commas")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Daemon.fresh(Path(folder), routes=fuzzing.ROUTES, config=fuzzing.CONFIG) as daemon,
    ):
        done = fuzzing.run(daemon, Path(folder), examples=asked.examples, seed=asked.seed, phases=asked.phases)
        print(done.stdout, done.stderr, sep="\n")
        if done.returncode != 0:
            print(daemon.stderr())
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
