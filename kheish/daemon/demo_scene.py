"""The demo's scene: a small repository with a failing test, a state root's definitions, and what the model will say."""

from __future__ import annotations

from pathlib import Path

TASK = "Make the tests pass."
SESSION = "fix-it"
#: the groups that the slow test works through, and the file where it says how far it is
GROUPS = 12
PROGRESS = "progress.log"

_BILL = '''\
"""Splits a bill among people."""


def split(cents, people):
    """What each of them pays, in whole cents."""
    share = cents // people
    return [share] * people
'''

_TEST_BILL = """\
import unittest

from shop.bill import split


class SplitTest(unittest.TestCase):
    def test_even(self):
        self.assertEqual(split(900, 3), [300, 300, 300])

    def test_nothing_is_lost(self):
        self.assertEqual(sum(split(1000, 3)), 1000)
"""

_TEST_ALL = f'''\
"""Every bill up to 20.00 among 1 to {GROUPS} people; slow, as the tests of a real project are."""

import time
import unittest
from pathlib import Path

from shop.bill import split
from tools.recalculate import bills


def note(line):
    with Path("{PROGRESS}").open("a") as log:
        log.write(line + "\\n")


class AllTest(unittest.TestCase):
    def test_stored_bills_add_up(self):
        for cents, shares in bills():
            self.assertEqual(sum(shares), cents)

    def test_every_bill(self):
        note("begin")
        for people in range(1, {GROUPS + 1}):
            time.sleep(0.4)
            for cents in range(2001):
                self.assertEqual(sum(split(cents, people)), cents)
            note(f"{{people}} people: good")
'''

_RECALCULATE = '''\
"""Calculates the shares of all stored bills again: python3 -m tools.recalculate"""

from pathlib import Path

from shop.bill import split

STORED = Path("data/bills.csv")


def bills():
    for line in STORED.read_text().splitlines():
        cents, *shares = map(int, line.split(","))
        yield cents, shares


def main():
    rows = [[cents, *split(cents, len(shares))] for cents, shares in bills()]
    STORED.write_text("".join(",".join(map(str, row)) + "\\n" for row in rows))
    print(f"{len(rows)} bills written to {STORED}.")


if __name__ == "__main__":
    main()
'''

REPOSITORY = {
    "README.md": "# shop\n\nSplits bills. Tests: `python3 -m unittest`.\n",
    ".gitignore": f"__pycache__/\n{PROGRESS}\n",
    "shop/__init__.py": "",
    "shop/bill.py": _BILL,
    "tools/__init__.py": "",
    "tools/recalculate.py": _RECALCULATE,
    "data/bills.csv": "900,300,300,300\n1000,333,333,333\n2050,512,512,512,512\n",
    "tests/__init__.py": "",
    "tests/test_bill.py": _TEST_BILL,
    "tests/test_all.py": _TEST_ALL,
}

_PERMISSIONS = """\
# What agents may do without asking. Reading is allowed by the mode; all that no rule allows asks.
mode: default
rules:
  - {tool: bash, match: "python3 -m unittest*", decision: allow, reason: tests change nothing}
  - {tool: edit_file, match: "shop/**", decision: allow, reason: git brings it back}
"""

_ROUTE = r"""# No model is behind this route: it says what stands here, turn by turn.
driver: scripted
script:
  after_last: fail
  turns:
    - text: I'll find out where bills are split, and what the tests say.
      chunks: 8
      delay: 30ms
      tool_calls:
        - {name: grep_search, arguments: {pattern: "def split", path: shop}}
        - {name: read_file, arguments: {path: shop/bill.py}}
    - text: The shares are rounded down. Let me see which test that breaks.
      chunks: 8
      delay: 30ms
      tool_calls:
        - name: bash
          arguments: {command: python3 -m unittest tests.test_bill, description: Run the test of split}
    - expect: "999 != 1000"
      text: A cent gets lost. Who pays it is not written anywhere, so I ask.
      chunks: 8
      delay: 30ms
      tool_calls:
        - name: ask_user_question
          arguments:
            questions:
              - header: Odd cents
                text: 10.00 among 3 leaves one cent over. Who pays odd cents?
                options: [{label: The first ones}, {label: The last ones}]
                free_text: false
    - expect: The first ones
      text: The first ones, then.
      tool_calls:
        - name: edit_file
          arguments:
            path: shop/bill.py
            old_string: |2
                  share = cents // people
                  return [share] * people
            new_string: |2
                  share, odd = divmod(cents, people)
                  return [share + 1] * odd + [share] * (people - odd)
    - text: The stored bills have the old shares. Calculating them again needs your word.
      chunks: 8
      delay: 30ms
      tool_calls:
        - name: bash
          arguments: {command: python3 -m tools.recalculate, description: Calculate all stored bills again}
    - expect: 3 bills written
      text: Now all tests, the slow one too.
      tool_calls:
        - name: bash
          arguments: {command: python3 -m unittest, description: Run all tests}
    - expect: "(?m)^OK$"
      text: |-
        All tests pass. split() rounded each share down and
        lost the odd cents; now the first ones pay them. I
        calculated the 3 stored bills again.
      chunks: 12
      delay: 30ms
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
