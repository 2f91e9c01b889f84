"""Marks of the best and worst numbers of a column of the HTML report."""

import pytest

from evaluate.page_table import Column, fairness_columns, marks


@pytest.mark.parametrize("better", ["lower", "higher", 2.0])
def test_best_and_worst_are_extremes_of_the_compared_rows(better, rng):
    column = Column("x", "x", better, digits=0)
    worse = {"lower": lambda a, b: a > b, "higher": lambda a, b: a < b}.get(better, lambda a, b: abs(a - 2) > abs(b - 2))
    for _ in range(200):
        values = [None if rng.random() < 0.2 else float(rng.integers(0, 5)) for _ in range(5)]
        compared = (rng.random(5) < 0.8).tolist()
        known = [value for value, each in zip(values, compared, strict=True) if each and value is not None]
        found = marks(column, [{"x": value} for value in values], compared)
        for value, each, mark in zip(values, compared, found, strict=True):
            if not each or value is None or not any(worse(a, b) for a in known for b in known):
                assert mark == ""
            else:
                best, worst = (not any(worse(*pair) for pair in pairs) for pairs in (
                    [(value, a) for a in known], [(a, value) for a in known],
                ))  # fmt: skip
                assert mark == ("best" if best else "worst" if worst else "")


def test_numbers_that_round_to_the_same_share_a_mark():
    column = Column("x", "a.x", "lower")
    assert marks(column, [{"a": {"x": x}} for x in (1.01, 1.04, 2.0)], [True] * 3) == ["best", "best", "worst"]
    assert marks(column, [{"a": {"x": x}} for x in (1.01, 1.04)], [True] * 2) == ["", ""]


def test_ber_nearest_to_chance_has_the_largest_folded_ber(rng):
    for _ in range(50):
        bers = rng.uniform(0, 100, 6).round(1)
        rows = [{"directions": {"real->synthetic": {"ber": ber, "folded_ber": min(ber, 100 - ber)}}} for ber in bers]
        report = {"values": ("square", "round"), "real": {"energy": {}}}
        ber, folded, _ = fairness_columns(report)["real → synthetic", "trained on real images, tested on the set"]
        assert marks(ber, rows, [True] * 6) == marks(folded, rows, [True] * 6)
