"""The kernel distance of two sets of features."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import Estimate, checked_pair

BLOCK = 512
"""Rows of a kernel matrix computed at once."""


@dataclass(frozen=True)
class KernelDistance:
    """The result of `kernel_distance`. All values are unbiased, so that they may be negative when the distributions are equal.

    Fields:
        full: from all images, which has the smallest variance, with its jackknife error and interval.
        mean: over the subsets, as "KID" is published.
        deviation: standard deviation (n - 1) over the subsets, as published. It is that of subsets of this size, not the error
            of `mean` or `full`. NaN for one subset, or where all subsets are the whole sets.
        subsets: the number of subsets.
        size: images of each set in a subset.
    """

    full: Estimate
    mean: float
    deviation: float
    subsets: int
    size: int


def kernel_distance(
    real: Float[np.ndarray, "n d"],
    synthetic: Float[np.ndarray, "m e"],
    *,
    subsets: int = 100,
    size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """The squared maximum mean discrepancy of the kernel (x·y / D + 1)³, "KID" (Bińkowski et al. 2018, section 4).

    The U-statistic (Gretton et al. 2012, equation 3): the means within a set leave out an image's kernel with itself, which
    makes the estimate unbiased for every count of images.

    Arguments:
        real, synthetic: three or more finite vectors each.
        subsets: the number of subsets, at least 1, each drawn without replacement.
        size: images of each set in a subset, at least 2; reduced to the size of the smaller set.
        seed: of the subsets.

    Raises:
        InputError: fewer than three vectors, unequal lengths, values that are not finite; no subsets; a size below 2.
    """
    if subsets < 1 or size < 2:
        raise InputError(f"`subsets` must be at least 1 and `size` at least 2, got {subsets} and {size}")
    x, y = checked_pair(real, synthetic, least=3)
    n, m = len(x), len(y)
    size = min(size, n, m)
    generator = np.random.default_rng(seed)
    of_x, of_y = (np.arange(count) < size for count in (n, m))
    of_x = generator.permuted(np.broadcast_to(of_x, (subsets, n)), axis=1)
    of_y = generator.permuted(np.broadcast_to(of_y, (subsets, m)), axis=1)
    rows_x, _, inner_x = _sums(x, x, of_x, of_x, within=True)
    rows_y, _, inner_y = _sums(y, y, of_y, of_y, within=True)
    cross_x, cross_y, cross = _sums(x, y, of_x, of_y)
    distances = (inner_x + inner_y) / (size * (size - 1)) - 2 * cross / size**2

    within_x, within_y, between = rows_x.sum() / (n * (n - 1)), rows_y.sum() / (m * (m - 1)), cross_x.sum() / (n * m)
    # Leave-one-out: an image's row and column are removed from the sum within a set, its row from the sum between.
    without_x = (rows_x.sum() - 2 * rows_x) / ((n - 1) * (n - 2)) - 2 * (cross_x.sum() - cross_x) / ((n - 1) * m)
    without_y = (rows_y.sum() - 2 * rows_y) / ((m - 1) * (m - 2)) - 2 * (cross_y.sum() - cross_y) / (n * (m - 1))
    error = math.sqrt((n - 1) * without_x.var() + (m - 1) * without_y.var())
    return KernelDistance(
        full=Estimate.normal(float(within_x + within_y - 2 * between), error),
        mean=float(distances.mean()),
        deviation=float(distances.std(ddof=1)) if subsets > 1 and size < max(n, m) else math.nan,
        subsets=subsets,
        size=size,
    )


def _sums(
    x: Float64[np.ndarray, "n d"],
    y: Float64[np.ndarray, "m d"],
    of_x: Bool[np.ndarray, "subsets n"],
    of_y: Bool[np.ndarray, "subsets m"],
    *,
    within: bool = False,
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " m"], Float64[np.ndarray, " subsets"]]:
    """Sums of the kernel matrix over rows, columns and subsets; `within`, for x = y, leaves out the diagonal."""
    rows, columns, chosen = np.empty(len(x)), np.zeros(len(y)), np.zeros(len(of_x))
    of_x, of_y = of_x.astype(np.float64), of_y.T.astype(np.float64)
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        base = x[part] @ y.T / x.shape[1] + 1
        kernel = base * base * base
        if within:
            kernel[np.arange(len(kernel)), start + np.arange(len(kernel))] = 0
        rows[part] = kernel.sum(axis=1)
        columns += kernel.sum(axis=0)
        chosen += np.einsum("sn,ns->s", of_x[:, part], kernel @ of_y)
    return rows, columns, chosen
