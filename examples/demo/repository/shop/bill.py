"""Splits a bill among people."""

from fairsplit import share


def split(cents, people):
    """What each of them pays, in whole cents."""
    return [share(cents, people)] * people
