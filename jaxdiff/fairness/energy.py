"""The energy distance between two samples and its permutation test."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxdiff.defaults import PERMUTATIONS
from jaxdiff.errors import InputError

BLOCK = 512
"""Rows compared at once, which bounds the memory in addition to the distance matrix."""


@dataclass(frozen=True)
class EnergyTest:
    """The result of `energy_test`.

    Fields:
        distance: the energy distance, in the unit of the samples' Euclidean distance. Unbiased, so it may be negative when the
            distributions are equal.
        relative: distance / (2 E|X-Y|), dimensionless: 0 for equal distributions, 1 for two distinct points (the energy
            coefficient of inhomogeneity, Székely and Rizzo 2013), comparable across image sizes and features.
        p_value: of the null hypothesis that both samples come from one distribution.
        count: vectors used of each sample.
        permutations: how many were drawn; the smallest p-value is 1 / (1 + permutations).
    """

    distance: float
    relative: float
    p_value: float
    count: tuple[int, int]
    permutations: int


def energy_distance(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m e"]) -> float:
    """The energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| (Székely and Rizzo 2013), |.| Euclidean.

    The U-statistic: the means within a sample leave out each element's distance to itself, which makes the estimate unbiased
    for all n and m, and therefore possibly negative. Its expectation is zero only for equal distributions.

    Arguments:
        x, y: two or more finite vectors each.

    Raises:
        InputError: fewer than two vectors, vectors of different lengths, or values that are not finite.
    """
    distances, first = _prepare(x, y)
    return float(_statistic(distances, first[:, None])[0])


def energy_test(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m e"],
    *,
    permutations: int = PERMUTATIONS,
    limit: int = 2000,
    seed: int = 0,
) -> EnergyTest:
    """The energy distance with a permutation p-value, (1 + #{permuted >= observed}) / (1 + permutations).

    All permutations share one matrix of distances, (n + m)^2 float32, and are computed as one matrix product.

    Arguments:
        x, y: as in `energy_distance`.
        permutations: at least 1.
        limit: larger samples are subsampled to this size, at least 2.
        seed: of the subsamples and the permutations.

    Raises:
        InputError: as in `energy_distance`, and for no permutations or a limit below 2.
    """
    if permutations < 1 or limit < 2:
        raise InputError(f"`permutations` must be at least 1 and `limit` at least 2, got {permutations} and {limit}")
    generator = np.random.default_rng(seed)
    x, y = (sample if len(sample) <= limit else sample[generator.permutation(len(sample))[:limit]] for sample in (x, y))
    distances, first = _prepare(x, y)
    shuffled = generator.permuted(np.broadcast_to(first[:, None], (len(first), permutations)), axis=0)
    statistics = _statistic(distances, np.concatenate([first[:, None], shuffled], axis=1))
    between = float(distances[: len(x), len(x) :].mean(dtype=np.float64))
    # A permutation that swaps equal elements gives an exact tie, which rounding must not break.
    reached = int((statistics[1:] >= statistics[0] - 1e-6 * between).sum())
    return EnergyTest(
        distance=float(statistics[0]),
        relative=float(statistics[0] / (2 * between)) if between else 0.0,
        p_value=(1 + reached) / (1 + permutations),
        count=(len(x), len(y)),
        permutations=permutations,
    )


def _prepare(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m e"]
) -> tuple[Float[np.ndarray, "k k"], Bool[np.ndarray, " k"]]:
    """The pairwise distances of the pooled samples, and which elements belong to the first."""
    if len(x) < 2 or len(y) < 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"`x` and `y` must be two or more vectors of one length each, got shapes {x.shape} and {y.shape}")
    both = np.concatenate([x, y])
    if not np.isfinite(both).all():
        raise InputError("`x` and `y` must be finite, got NaN or infinity")
    return _pairwise(both), np.arange(len(both)) < len(x)


def _pairwise(x: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k k"]:
    """Euclidean distances as float32, computed in float64 because |a|² + |b|² - 2ab cancels for close images."""
    distances = np.zeros((len(x), len(x)), np.float32)
    centre = x.mean(axis=0, dtype=np.float64)
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK] - centre
        for other in range(start, len(x), BLOCK):
            columns = x[other : other + BLOCK] - centre
            squares = np.square(rows).sum(1)[:, None] + np.square(columns).sum(1) - 2 * rows @ columns.T
            block = np.sqrt(np.maximum(squares, 0))
            distances[start : start + BLOCK, other : other + BLOCK] = block
            distances[other : other + BLOCK, start : start + BLOCK] = block.T
    np.fill_diagonal(distances, 0)
    return distances


def _statistic(
    distances: Float[np.ndarray, "k k"], first: Bool[np.ndarray, "k assignments"]
) -> Float[np.ndarray, " assignments"]:
    """The U-statistic for several assignments of the elements to the first sample; each has the same sizes."""
    size = len(distances)
    n = int(first[:, 0].sum())
    m = size - n
    # A constant on all pairs cancels (2c - c - c): subtracting it keeps precision in the float32 products.
    centred = distances - np.float32(distances.sum(dtype=np.float64) / (size * (size - 1)))
    np.fill_diagonal(centred, 0)
    members = first.astype(np.float32)
    rows = centred.sum(axis=1, dtype=np.float64)
    within_first = np.einsum("kp,kp->p", members, centred @ members, dtype=np.float64)
    from_first = rows @ first
    within_second = rows.sum() - 2 * from_first + within_first
    between = from_first - within_first
    return 2 * between / (n * m) - within_first / (n * (n - 1)) - within_second / (m * (m - 1))
