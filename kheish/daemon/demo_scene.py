"""The demo's scene: a small repository whose dependency is old, definitions of a state root, and what the model says.

The Playbook is none of the demo's own: it is `dependency-upgrade`, which `kheish init` has put into the state root.
"""

from __future__ import annotations

from pathlib import Path

PLAYBOOK = "dependency-upgrade"
INPUTS = {"package": "fairsplit", "version": "2.0", "tests": "python3 -m unittest -q tests.test_bill"}
#: the groups that the slow test works through, and the file where it says how far it is
GROUPS = 12
PROGRESS = "progress.log"

_OLD = '''\
"""Splits an amount fairly."""


def share(cents, people):
    """What each pays, rounded down."""
    return cents // people
'''

_NEW = '''\
"""Splits an amount fairly. 2.0: shares() gives all shares, and loses no cent."""


def shares(cents, people):
    """What each pays; the first ones pay the odd cents."""
    part, odd = divmod(cents, people)
    return [part + 1] * odd + [part] * (people - odd)
'''

_SHOP = '''\
"""A shop. Its dependency is vendored, at the version that requirements.txt names."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_VERSION = (_ROOT / "requirements.txt").read_text().strip().partition("==")[2]
sys.path.insert(0, str(_ROOT / "vendor" / f"fairsplit-{_VERSION}"))
'''

_BILL = '''\
"""Splits a bill among people."""

from fairsplit import share


def split(cents, people):
    """What each of them pays, in whole cents."""
    return [share(cents, people)] * people
'''

_TEST_BILL = """\
import unittest

from shop.bill import split


class SplitTest(unittest.TestCase):
    def test_even(self):
        self.assertEqual(split(900, 3), [300, 300, 300])
"""

_TEST_ALL = f'''\
"""Every bill up to 20.00 among 1 to {GROUPS} people; slow, as the tests of a real project are."""

import time
import unittest
from pathlib import Path

from shop.bill import split


def note(line):
    with Path("{PROGRESS}").open("a") as log:
        log.write(line + "\\n")


class AllTest(unittest.TestCase):
    def test_every_bill(self):
        note("begin")
        for people in range(1, {GROUPS + 1}):
            time.sleep(0.4)
            for cents in range(2001):
                self.assertEqual(sum(split(cents, people)), cents)
            note(f"{{people}} people: good")
'''

REPOSITORY = {
    "README.md": "# shop\n\nSplits bills. Tests: `python3 -m unittest`.\n",
    ".gitignore": f"__pycache__/\n{PROGRESS}\n",
    "requirements.txt": "fairsplit==1.0\n",
    "vendor/fairsplit-1.0/fairsplit.py": _OLD,
    "vendor/fairsplit-2.0/fairsplit.py": _NEW,
    "shop/__init__.py": _SHOP,
    "shop/bill.py": _BILL,
    "tests/__init__.py": "",
    "tests/test_bill.py": _TEST_BILL,
    "tests/test_all.py": _TEST_ALL,
}

_PERMISSIONS = """\
# What agents may do without asking. Reading is allowed by the mode; all that no rule allows asks.
mode: default
rules:
  - {tool: bash, match: "python3 -m unittest*", decision: allow, reason: tests change nothing}
  - {tool: bash, match: "sh -c 'python3 -m unittest -q tests.test_bill'", decision: allow, reason: the Flow's input}
  - {tool: bash, match: "git add *", decision: allow, reason: the phase before it needs a person's word}
  - {tool: bash, match: "git commit *", decision: allow, reason: the phase before it needs a person's word}
  - {tool: edit_file, match: "**", decision: allow, reason: git brings it back}
  - {tool: write_file, match: UPGRADE.md, decision: allow, reason: notes about the upgrade}
"""

_ROUTE = r"""# No model is behind this route: it says what stands here, phase by phase.
driver: scripted
script:
  after_last: fail
  parts:
    - prompt: "Phase: baseline"
      turns:
        - text: First, how it is now.
          tool_calls:
            - {name: read_file, arguments: {path: requirements.txt}}
            - {name: bash, arguments: {command: python3 -m unittest -q tests.test_bill, description: Run the tests}}
        - expect: "(?m)^OK$"
          text: fairsplit is at 1.0, and the tests pass.
    - prompt: "Phase: upgrade"
      turns:
        - text: In 2.0, share() is shares(), and gives all of them.
          chunks: 8
          delay: 20ms
          tool_calls:
            - name: edit_file
              arguments: {path: requirements.txt, old_string: fairsplit==1.0, new_string: fairsplit==2.0}
            - name: edit_file
              arguments: {path: shop/bill.py, old_string: import share, new_string: import shares}
            - name: edit_file
              arguments:
                path: shop/bill.py
                old_string: "return [share(cents, people)] * people"
                new_string: "return shares(cents, people)"
        - text: Now all tests, the slow one too.
          tool_calls:
            - {name: bash, arguments: {command: python3 -m unittest -q, description: Run all tests}}
        - expect: "(?m)^OK$"
          tool_calls:
            - name: write_file
              arguments:
                path: UPGRADE.md
                content: |
                  fairsplit 2.0 loses no cent any more: the first ones pay the odd ones.

                  Changed: requirements.txt (the version), shop/bill.py (share() is shares()).
        - tool_calls:
            - {name: attach_evidence, arguments: {kind: file, id: manifest, ref: requirements.txt}}
            - {name: attach_evidence, arguments: {kind: file, id: notes, ref: UPGRADE.md}}
        - text: Two files are changed, and all tests pass with fairsplit 2.0.
    - prompt: "Phase: commit"
      turns:
        - tool_calls:
            - name: bash
              arguments:
                command: >-
                  git add requirements.txt shop/bill.py UPGRADE.md &&
                  git commit --quiet --message "Upgrade fairsplit to 2.0"
                description: Commit the upgrade
        - tool_calls:
            - {name: attach_evidence, arguments: {kind: commit, id: change, ref: HEAD, description: The upgrade.}}
        - text: Committed.
"""


def write_repository(workspace: Path) -> None:
    """Write the files of the repository."""
    _write(workspace, REPOSITORY)


def write_definitions(root: Path, *, confined: bool) -> None:
    """Write the route, the permissions and, where commands cannot be confined, that they run all the same."""
    _write(root, {"routes/demo.yaml": _ROUTE, "permissions.yaml": _PERMISSIONS})
    if not confined:
        _write(
            root,
            {"kheish.yaml": "# The demo's folder is thrown away, and its commands are known.\nsandbox: {mode: off}\n"},
        )


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
