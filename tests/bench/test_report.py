"""Rows say whether their goal is reached, and the table shows it."""

from bench.report import Report, Row, quantile, show


def test_a_goal_of_the_figure_and_one_of_the_ratio() -> None:
    slow = Row(what="run", measured=9.0, unit="ms", floor=3.0, floor_is="bare", limit=8.0)
    enough = Row(what="rate", measured=40.0, unit="/s", floor=100.0, limit=1 / 3, goal_of="ratio", better="more")

    table = show(Report("both", rows=[slow, enough]))

    assert (slow.ratio, slow.met, enough.met) == (3.0, False, True)
    assert "MISSED" in table.splitlines()[3]
    assert "≥ 0.33 times" in table.splitlines()[4]


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]

    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)
