"""Where a label shows: the map in closed form on a mixture of images, and the region of a map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.fairness import label_map, label_region
from jaxdiff.process import vp_cosine

PROCESS, STD, COUNT = vp_cosine(), 0.1, 64
SHAPE = (2, 3, 1)
LABEL, OTHER = np.zeros(SHAPE), np.zeros(SHAPE)
LABEL[0, 0], OTHER[1, 1] = 1.0, 2.0
"""The label c moves pixel (0, 0) by ±1, the other attribute a moves (1, 1) by ±2, and a = c in a share 0.9."""
PARTS = np.stack([[((2 * c - 1) * LABEL + (2 * a - 1) * OTHER).ravel() for a in (0, 1)] for c in (0, 1)])
MIXTURE = GaussianMixture(
    jnp.asarray(PARTS, jnp.float32), jnp.full((2, 2), STD), jnp.log(jnp.asarray([[0.9, 0.1], [0.1, 0.9]])), PROCESS
)


def exact(x, t, condition):
    """The mixture's posterior mean of images."""
    return MIXTURE(x.reshape(len(x), -1), t, condition).reshape(x.shape)


def found(at: float, conditions=(0, 1)) -> np.ndarray:
    """The map of exact samples of both classes."""
    images = MIXTURE.draw(jax.random.key(0), jnp.arange(COUNT) % 2).reshape(COUNT, *SHAPE)
    rows = [jnp.full(COUNT, c) for c in conditions]
    return label_map(exact, PROCESS, images, rows, key=jax.random.key(1), at=at)


def test_at_a_small_noise_it_shows_the_label_alone():
    """There D_c = mu_c + w (x - alpha mu_c), so that D_1 - D_0 = 2 (1 - alpha w) in the label's pixel and 0 elsewhere."""
    at = 0.3
    alpha, sigma = float(PROCESS.alpha(at)), float(PROCESS.sigma(at))
    weight = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    expected = np.zeros(SHAPE[:2])
    expected[0, 0] = 1 - alpha * weight
    np.testing.assert_allclose(found(at), expected, atol=2e-3)


def test_at_a_large_noise_it_shows_what_goes_with_the_label():
    """Given nothing, a has a mean of ±0.8 under the two labels."""
    assert found(1.0)[1, 1] == pytest.approx(0.8 * 2.0, rel=0.05)
    assert np.argwhere(label_region(found(1.0), margin=0)).tolist() == [[0, 0], [1, 1]]
    assert np.argwhere(label_region(found(0.3), margin=0)).tolist() == [[0, 0]]


def test_a_region_is_what_is_above_a_share_of_the_maximum_and_around():
    values = np.zeros((6, 7))
    values[2, 3], values[5, 0] = 2.0, 0.9
    assert np.argwhere(label_region(values, margin=0)).tolist() == [[2, 3]]
    assert np.argwhere(label_region(values, share=0.4, margin=0)).tolist() == [[2, 3], [5, 0]]
    around = label_region(values, margin=1)
    assert around[1:4, 2:5].all() and around.sum() == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: found(0.0), r"`at` must lie in \(0, 1\], got 0.0"),
        (lambda: found(0.3, (0,)), "two values or more, got 1"),
        (lambda: label_region(np.ones((2, 2)), share=1.0), r"`share` must be in \[0, 1\)"),
        (lambda: label_region(np.ones((2, 2)), margin=-1), "`margin` at least 0"),
        (lambda: label_region(found(0.3, (1, 1))), "do not change with it"),
    ],
    ids=range(5),
)
def test_numbers_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
