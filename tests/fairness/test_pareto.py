"""The parity curve: fronts and areas by hand, against a count of points, and what does not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdiff import InputError
from jaxdiff.fairness import parity_curve


def curve(points, **options):
    kept, differences = np.array(points, float).T
    return parity_curve(kept, differences, values=options.pop("values", 2), **options)


@pytest.mark.parametrize(
    ("points", "front", "area"),
    [
        ([(1, 0)], [0], 0.5),  # the best there is
        ([(0.9, 0.25)], [0], 0.4 * 0.75),
        # 0.4 x 0.75, and below it 0.2 x 0.15
        ([(0.7, 0.1), (0.9, 0.25)], [0, 1], 0.4 * 0.75 + 0.2 * 0.15),
        ([(0.9, 0.25), (0.8, 0.3), (0.7, 0.1)], [2, 0], 0.4 * 0.75 + 0.2 * 0.15),
        ([(0.9, 0.25), (0.9, 0.25), (0.9, 0.5)], [0], 0.4 * 0.75),  # equal, and as many labels kept
        ([(0.5, 0.0)], [0], 0.0),
        ([(0.2, 0.0), (0.6, 1.0)], [0, 1], 0.0),  # beyond the reference
        ([(0.2, 0.0), (0.6, 0.5)], [0, 1], 0.1 * 0.5),
    ],
)
def test_fronts_and_areas_by_hand(points, front, area):
    found = curve(points)
    assert found.front.tolist() == front and found.hypervolume == pytest.approx(area)
    assert found.reference == (0.5, 1.0)


def test_reference_is_that_of_random_labels_and_of_the_largest_difference():
    assert curve([(0.75, 0.5)], values=4).hypervolume == pytest.approx(0.5 * 0.5)
    assert curve([(0.75, 0.5)], values=4, largest=0.6).hypervolume == pytest.approx(0.5 * 0.1)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8), st.randoms())
def test_area_is_the_number_of_dominated_cells_and_dominated_points_change_nothing(cells, random):
    """On a grid of 1/20: a cell of the reference's rectangle counts if some point dominates its worst corner."""
    points = np.array(cells) / 20
    found = curve(points)
    count = sum(
        any(kept >= right / 20 and difference <= (right_down - 1) / 20 for kept, difference in points)
        for right in range(11, 21)
        for right_down in range(1, 21)
    )
    assert found.hypervolume == pytest.approx(count / 400)
    kept, differences = points[random.randrange(len(points))]
    worse = [kept * random.random(), differences + (1 - differences) * random.random()]
    more = curve([*points, worse])
    assert more.hypervolume == pytest.approx(found.hypervolume) and more.front.tolist() == found.front.tolist()
    on_front = {tuple(points[i]) for i in found.front}
    for i, point in enumerate(points):
        dominated = any((other[0] >= point[0]) & (other[1] <= point[1]) & (other != point).any() for other in points)
        assert dominated != (tuple(point) in on_front), (i, point)
    assert (np.diff(points[found.front, 0]) > 0).all() and (np.diff(points[found.front, 1]) > 0).all()


@pytest.mark.parametrize(("points", "values"), [([], 2), ([(0.5, np.nan)], 2), ([(0.5, 0.1)], 1)])
def test_wrong_input_is_an_error(points, values):
    with pytest.raises(InputError):
        parity_curve(np.array([p[0] for p in points], float), np.array([p[1] for p in points], float), values=values)
