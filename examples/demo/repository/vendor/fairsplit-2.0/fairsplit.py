"""Splits an amount fairly. 2.0: shares() gives all shares, and loses no cent."""


def shares(cents, people):
    """What each pays; the first ones pay the odd cents."""
    part, odd = divmod(cents, people)
    return [part + 1] * odd + [part] * (people - odd)
