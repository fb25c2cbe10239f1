"""`python -m tests.crash --rounds N --seed S`: kill daemons at random moments, and look whether anything was lost."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash.campaign import Campaign


def main() -> int:
    """Returns 1 where the checker found something; the state root is kept then, and named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"kheish-crash-{asked.seed}-"))
    campaign = Campaign(folder, asked.seed, tell=lambda line: print(line, flush=True))
    findings = campaign.run(asked.rounds)
    for finding in findings[:50]:
        print(finding)
    print(f"{asked.rounds} rounds, seed {asked.seed}: {len(findings)} findings; {folder}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
