"""Run the tests that failed once more, alone: `make test` does so after a run in which few tests failed.

Whole-system tests share two cores with four other workers, so that a step which takes a tenth of a second alone can
take ten there. A test that passes alone is named: its failure may have shown a race, and is to be looked into. One that
fails twice fails the run, and so do more failures than chance makes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
#: more failures than this have one cause, and are not by chance
MOST = 3


def main() -> int:
    """Return the exit code of the second run, or 1 without one."""
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.is_file() else []
    if not 0 < len(failed) <= MOST:
        return 1
    names = "".join(f"  {name}\n" for name in failed)
    print(f"\nThese tests failed, and run again, alone:\n{names}", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", "--timeout=300", *failed]).returncode
    if code == 0:
        print(f"\nThese tests failed beside others, and passed alone (see CONTRIBUTING.md):\n{names}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
