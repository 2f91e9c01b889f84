"""The floor is the same measure at the same sizes, between real windows that are in one set only."""

import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.quality.series import correlational_distance, with_floor
from tests.quality.series.processes import autoregressive


def pair(a, b):
    return a, b


def numbered(first: int, count: int) -> np.ndarray:
    return np.broadcast_to(np.arange(first, first + count, dtype=np.float64)[:, None, None], (count, 3, 2))


@pytest.mark.parametrize(("real", "synthetic", "count"), [(11, 20, 5), (40, 7, 7)])
def test_halves_are_disjoint_and_as_large_as_what_is_compared(real, synthetic, count):
    found = with_floor(pair, numbered(0, real), numbered(100, synthetic))
    (first, drawn), (again, second) = ([{*each[:, 0, 0]} for each in sets] for sets in (found.value, found.floor))
    assert found.count == count == len(first) == len(second) == len(drawn)
    assert (
        first == again and not first & second and first | second <= {*range(real)} and drawn <= {*range(100, 100 + synthetic)}
    )
    other = with_floor(pair, numbered(0, real), numbered(100, synthetic), seed=1)
    assert {*other.floor[0][:, 0, 0]} != first


def test_held_out_windows_take_the_place_of_a_half():
    found = with_floor(pair, numbered(0, 9), numbered(100, 8), numbered(50, 6))
    assert found.count == 6 and {*found.floor[1][:, 0, 0]} == {*range(50, 56)} and {*found.value[0][:, 0, 0]} <= {*range(9)}


def test_equal_distributions_are_at_the_floor_and_others_above(rng):
    target = [[1, 0.7], [0.7, 1]]
    real, same, other = (autoregressive(rng, 4000, 6, [0.5, 0.5], each) for each in (target, target, None))
    at = with_floor(correlational_distance, real, same)
    assert 0 < at.floor < 0.005 and at.value < 0.005
    assert with_floor(correlational_distance, real, other).value > 10 * at.floor


def test_what_leaves_no_windows_is_refused():
    for real, synthetic, held_out in [
        (numbered(0, 1), numbered(0, 3), None),
        (numbered(0, 4), numbered(0, 3)[:, :2], None),
        (numbered(0, 4), numbered(0, 3), numbered(0, 3)[..., :1]),
    ]:
        with pytest.raises(InputError, match="two or more real ones"):
            with_floor(pair, real, synthetic, held_out)
    with pytest.raises(InputError, match="got none"):
        with_floor(pair, numbered(0, 4), numbered(0, 0))
