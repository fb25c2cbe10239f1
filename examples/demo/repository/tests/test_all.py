"""Every bill up to 20.00 among 1 to 12 people; slow, as the tests of a real project are."""

import time
import unittest
from pathlib import Path

from shop.bill import split


def note(line):
    with Path("progress.log").open("a") as log:
        log.write(line + "\n")


class AllTest(unittest.TestCase):
    def test_every_bill(self):
        note("begin")
        for people in range(1, 13):
            time.sleep(0.4)
            for cents in range(2001):
                self.assertEqual(sum(split(cents, people)), cents)
            note(f"{people} people: good")
