"""The subspace of what goes with a label: its directions and shares in closed form on mixtures of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.fairness import associated_subspace
from jaxdiff.process import vp_cosine

PROCESS, STD, COUNT = vp_cosine(), 0.1, 64
SHAPE = (2, 3, 1)
LABEL, FIRST, SECOND = np.zeros(SHAPE), np.zeros(SHAPE), np.zeros(SHAPE)
LABEL[0, 0] = FIRST[1, 1] = SECOND[0, 2] = 1.0
MOVED = 2.0
"""The label moves pixel (0, 0) by ±1, and each other attribute one of its own by ±2, with a = c in a share of the images."""


def mixture(*shares: float):
    """The exact denoiser, and exact samples of both classes; `shares` are P(a = c) of each other attribute."""
    others = np.stack(np.meshgrid(*[[-1, 1]] * len(shares), indexing="ij"), -1).reshape(-1, len(shares))
    axes = np.stack([FIRST, SECOND][: len(shares)])
    means, weights = [], []
    for c in (-1, 1):
        means.append([(c * LABEL + MOVED * np.tensordot(a, axes, 1)).ravel() for a in others])
        weights.append(np.where(others == c, shares, 1 - np.asarray(shares)).prod(1))
    exact = GaussianMixture(
        jnp.asarray(np.stack(means), jnp.float32), jnp.full((2, len(others)), STD), jnp.log(jnp.asarray(weights)), PROCESS
    )
    images = exact.draw(jax.random.key(0), jnp.arange(COUNT) % 2).reshape(COUNT, *SHAPE)
    return (lambda x, t, condition: exact(x.reshape(len(x), -1), t, condition).reshape(x.shape)), images


def found(*shares, conditions=(0, 1), **options):
    """The subspace of the exact means."""
    exact, images = mixture(*shares)
    rows = [jnp.full(COUNT, c) for c in conditions]
    # at t = 0.2 the other attributes are decided, to the accuracy that is tested
    return associated_subspace(exact, PROCESS, images, rows, **{"near": 0.2, "key": jax.random.key(1), **options})


def within(rows, axis) -> float:
    """The length of what of an axis lies in the span of orthonormal rows."""
    return float(np.linalg.norm(rows.reshape(len(rows), axis.size) @ axis.ravel()))


def test_it_is_the_axis_of_what_goes_with_the_label():
    subspace = found(0.9)
    assert len(subspace.rows) == len(subspace.own) == 1 and subspace.rows.shape[1:] == SHAPE
    assert within(subspace.rows, FIRST) == pytest.approx(1, abs=1e-4)
    assert within(subspace.own, LABEL) == pytest.approx(1, abs=1e-4)


def test_shares_are_those_of_the_closed_form():
    """At t = 1 the means under c are ±1 in the label's pixel and ±2 (2 p - 1) in the other's, whatever x_t is."""
    subspace = found(0.9, far=(1.0,))
    other = (MOVED * 0.8) ** 2
    assert subspace.own_share == pytest.approx(1 / (1 + other), rel=1e-3)
    np.testing.assert_allclose(subspace.shares, [other / (1 + other)], rtol=1e-3)


def test_rows_are_orthonormal_and_hold_every_attribute_that_goes_with_the_label():
    subspace = found(0.9, 0.8, far=(0.4, 0.6, 0.8, 1.0), share=0.999)
    assert len(subspace.rows) == 2
    assert min(within(subspace.rows, axis) for axis in (FIRST, SECOND)) > 1 - 1e-4
    rows = np.concatenate([subspace.rows, subspace.own]).reshape(3, -1)
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-6)
    assert subspace.shares[0] > subspace.shares[1] and 0.999 < subspace.shares.sum() + subspace.own_share <= 1 + 1e-9
    assert within(found(0.9, 0.5, share=0.999).rows, SECOND) < 1e-4  # of an independent attribute nothing


def test_where_nothing_goes_with_the_label_there_is_none():
    subspace = found(0.5)
    assert len(subspace.rows) == 0 and subspace.rows.shape[1:] == SHAPE
    assert subspace.own_share == pytest.approx(1, abs=1e-6)


def test_it_depends_on_the_key_alone_and_not_on_the_order_of_values():
    once, again, turned = found(0.9), found(0.9), found(0.9, conditions=(1, 0))
    for one, two, other in zip(once, again, turned, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not np.array_equal(once.shares, found(0.9, key=jax.random.key(2)).shares)


def test_what_is_undecided_at_the_small_noise_belongs_to_the_label():
    """At a small noise of t = 0.9 the directions there have a part along the other axis, which is then not in the subspace."""
    subspace = found(0.9, near=0.9, far=(1.0,), share=0.999)
    assert within(subspace.rows, FIRST) < 0.7 < within(subspace.own, FIRST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"near": 0.0}, r"got 0.0 and \(0.6, 0.8, 1.0\)"),
        ({"near": 0.7}, "near < each of far"),
        ({"far": ()}, "near < each of far"),
        ({"far": (0.5, 1.1)}, "far <= 1"),
        ({"share": 1.0}, r"`share` must lie in \(0, 1\), got 1.0"),
        ({"own_share": 0.0}, r"`own_share` must lie in \(0, 1\), got 0.0"),
        ({"conditions": (0,)}, "two values or more, got 1"),
        ({"conditions": (1, 1)}, "do not change with the label at t = 0.2"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        found(0.9, **options)
