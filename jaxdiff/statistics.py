"""Statistics of counts over images: the bootstrap of sums, tables under random permutations of labels, and score intervals."""

import numpy as np
import scipy
from jaxtyping import Float, Integer, Shaped

from jaxdiff.errors import InputError

BLOCK = 1 << 22
"""Draws held in memory at once, which bounds memory for sets in which no two rows are equal."""


def resampled_sums(
    rows: Shaped[np.ndarray, "n d"], *, replicates: int, generator: np.random.Generator
) -> Float[np.ndarray, "replicates d"]:
    """Sums over N rows drawn with replacement from N rows (the bootstrap, Efron 1979): (replicates, D).

    Equal rows are interchangeable, so that resampling is one multinomial draw over the distinct rows: exact, and fast where
    few rows are distinct.

    Arguments:
        rows: the contribution of each image to the sums (N, D), N at least 1.
        replicates: the number of bootstrap samples.
        generator: of the draws.
    """
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    block = max(1, BLOCK // len(kinds))
    blocks = [min(block, replicates - start) for start in range(0, replicates, block)]
    draws = (generator.multinomial(len(rows), counts / len(rows), size=size) for size in blocks)
    return np.concatenate([draw.astype(np.float64) @ kinds for draw in draws])


def permuted_tables(
    rows: Integer[np.ndarray, " r"], columns: Integer[np.ndarray, " c"], *, replicates: int, generator: np.random.Generator
) -> Integer[np.ndarray, "replicates r c"]:
    """Contingency tables with fixed margins under random permutations of the labels (Patefield 1981): (replicates, R, C).

    Images of one kind are interchangeable, so that a permutation of labels over images is a table of kinds by labels.

    Arguments:
        rows: the number of images of each kind (R,).
        columns: the number of images of each label (C,), with the same sum.
        replicates: the number of tables.
        generator: of the draws.
    """
    # scipy 1.17 returns negative counts for tables of one row or one column: an empty row and column avoid them
    padded = scipy.stats.random_table(np.append(rows, 0), np.append(columns, 0)).rvs(replicates, random_state=generator)
    return padded.astype(np.int64)[:, :-1, :-1]


def percentile_interval(replicates: Shaped[np.ndarray, "replicates ..."], level: float) -> Float[np.ndarray, "... 2"]:
    """The percentile interval (..., 2) of replicates (R, ...), ignoring NaN; NaN where all are.

    The ends are order statistics, rounded outwards, so that infinite replicates are never interpolated.
    """
    ordered = np.sort(np.asarray(replicates, np.float64), axis=0)  # NaN come last
    last = np.maximum((~np.isnan(ordered)).sum(axis=0) - 1, 0)
    positions = np.floor(last * ((1 - level) / 2)), np.ceil(last * ((1 + level) / 2))
    ends = [np.take_along_axis(ordered, position.astype(np.int64)[None], axis=0)[0] for position in positions]
    return np.stack(ends, axis=-1)


def wilson_interval(
    share: Float[np.ndarray, "*shape"], count: Integer[np.ndarray, "*shape"], *, level: float = 0.95
) -> Float[np.ndarray, "*shape 2"]:
    """Wilson's score interval (1927) of proportions of `count` independent images: (..., 2); NaN where the count is 0.

    The solutions p of |share - p| = z sqrt(p (1 - p) / count). Unlike the bootstrap interval it has positive width at shares of
    0 and 1, and is accurate for few images.

    Raises:
        InputError: a level outside (0, 1).
    """
    check_level(level)
    z = scipy.special.ndtri((1 + level) / 2)
    present = np.maximum(count, 1)
    centre = (share + z**2 / (2 * present)) / (1 + z**2 / present)
    half = z * np.sqrt(share * (1 - share) / present + (z / (2 * present)) ** 2) / (1 + z**2 / present)
    ends = np.clip(np.stack([centre - half, centre + half], axis=-1), 0, 1)
    return np.where(np.asarray(count)[..., None] > 0, ends, np.nan)


def newcombe_interval(shares: tuple[float, float], counts: tuple[int, int], *, level: float = 0.95) -> tuple[float, float]:
    """Newcombe's hybrid score interval (1998, method 10) of the difference p1 - p2 of two independent proportions.

    With Wilson's interval [l, u] of each share p: from p1 - p2 - sqrt((p1 - l1)^2 + (u2 - p2)^2) to
    p1 - p2 + sqrt((u1 - p1)^2 + (p2 - l2)^2). It has positive width where both shares are 0.

    Arguments:
        shares: p1 and p2, each in [0, 1].
        counts: the number of images behind each, at least 1.
        level: of the interval, in (0, 1).

    Raises:
        InputError: a count below 1, or a level outside (0, 1).
    """
    if min(counts) < 1:
        raise InputError(f"`counts` must be at least 1, got {counts}")
    (first, second), difference = wilson_interval(np.array(shares), np.array(counts), level=level), shares[0] - shares[1]
    below = np.hypot(shares[0] - first[0], second[1] - shares[1])
    above = np.hypot(first[1] - shares[0], shares[1] - second[0])
    return max(float(difference - below), -1.0), min(float(difference + above), 1.0)


def ratio(part: Shaped[np.ndarray, "*shape"], whole: Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "*shape"]:
    """part / whole, with `whole` broadcast to `part`; NaN where `whole` is 0."""
    part = np.asarray(part, np.float64)
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=np.broadcast_to(whole, part.shape) > 0)


def check_level(level: float) -> None:
    """Raises `InputError` for a level outside (0, 1)."""
    if not 0 < level < 1:
        raise InputError(f"`level` must be within 0 and 1, got {level}")


def check_replicates(replicates: int, level: float) -> None:
    """Raises `InputError` for no replicates or a level outside (0, 1)."""
    if replicates < 1 or not 0 < level < 1:
        raise InputError(f"`replicates` must be at least 1 and `level` within 0 and 1, got {replicates} and {level}")


def check_labels(labels: Integer[np.ndarray, " n"], *, values: int) -> None:
    """Raises `InputError` for fewer than two values, no labels, or a label outside 0..values-1."""
    if values < 2:
        raise InputError(f"`values` must be at least 2, got {values}")
    if not len(labels) or labels.min() < 0 or labels.max() >= values:
        got = f"{labels.min()} to {labels.max()}" if len(labels) else "none"
        raise InputError(f"`labels` must be at least one and within 0 and {values - 1}, got {got}")
