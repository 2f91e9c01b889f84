"""Attributes that stay as they were: counts by hand, intervals that cover the truth, and errors."""

import numpy as np
import pytest
import scipy

from jaxdiff.errors import InputError
from jaxdiff.fairness.unchanged import measure_unchanged


def test_shares_are_counts_of_equal_values(rng):
    before, after = rng.integers(0, 3, (2, 50, 4))
    found = measure_unchanged(before, after)
    equal = [sum(before[i, a] == after[i, a] for i in range(50)) / 50 for a in range(4)]
    np.testing.assert_allclose(found.share, equal)
    assert found.mean == pytest.approx(np.mean(equal)) and found.count == 50
    for share, ends in zip(equal, found.interval, strict=True):
        exact = scipy.stats.binomtest(round(50 * share), 50).proportion_ci(method="wilson")
        np.testing.assert_allclose(ends, exact)


def test_a_method_that_changes_nothing_keeps_all():
    labels = np.arange(12).reshape(6, 2) % 3
    found = measure_unchanged(labels, labels)
    assert found.share.tolist() == [1, 1] and found.mean == 1 and found.mean_interval.tolist() == [1, 1]


def test_the_interval_of_the_mean_covers_it_where_attributes_change_together(rng):
    # all three attributes of a pair change together, so that pairs and not values are independent
    covered, widths = 0, []
    for seed in range(100):
        changed = rng.random(100) < 0.3
        before = np.zeros((100, 3), int)
        found = measure_unchanged(before, before + changed[:, None], replicates=300, seed=seed)
        covered += found.mean_interval[0] <= 0.7 <= found.mean_interval[1]
        widths.append(np.diff(found.mean_interval)[0])
    assert 88 <= covered <= 99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 100), rel=0.1)


@pytest.mark.parametrize("shapes", [((4, 2), (4, 1)), ((3, 2), (4, 2)), ((0, 2), (0, 2)), ((4, 0), (4, 0))])
def test_what_cannot_be_compared_is_refused(shapes):
    with pytest.raises(InputError, match="must have one shape"):
        measure_unchanged(*(np.zeros(shape, int) for shape in shapes))
