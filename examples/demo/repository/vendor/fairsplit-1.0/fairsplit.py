"""Splits an amount fairly."""


def share(cents, people):
    """What each pays, rounded down."""
    return cents // people
