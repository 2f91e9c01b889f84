"""Masks of missing entries on which imputation is measured: True is missing."""

import jax
import numpy as np
from jaxtyping import Bool, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.priors import masks


def random_mask(shape: tuple[int, int, int], share: float, *, key: PRNGKeyArray) -> Bool[np.ndarray, "n l f"]:
    """Entries that are missing independently of each other, as many as `share` of all, rounded.

    Arguments:
        shape: (N, L, F).
        share: in (0, 1).
        key: of the draw.

    Raises:
        InputError: a share outside (0, 1).
    """
    _check_share(share)
    size = int(np.prod(shape))
    order = np.asarray(jax.random.permutation(key, size))
    return (order < round(share * size)).reshape(shape)


def geometric_mask(
    shape: tuple[int, int, int], share: float, *, key: PRNGKeyArray, mean_length: float = 3.0
) -> Bool[np.ndarray, "n l f"]:
    """Gaps of geometric length: a stationary Markov chain over time for each window and feature (Zerveas et al. 2021).

    See `jaxdiff.priors.masks.chain`; windows cut the gaps at their ends. Each entry is missing with probability `share`, which
    is at most m / (m + 1) for the mean length m, 75 % for 3; beyond it the published code masks 75 % all the same. Take gaps of
    mean length share / (1 - share) there, or `random_mask`.

    Arguments:
        shape: (N, L, F).
        share: in (0, m / (m + 1)].
        key: of the draw.
        mean_length: m, at least 1.

    Raises:
        InputError: a share or a mean length out of range.
    """
    _check_share(share)
    if not mean_length >= 1:
        raise InputError(f"`mean_length` must be at least 1, got {mean_length}")
    if share > mean_length / (mean_length + 1) * (1 + 1e-9):
        raise InputError(
            f"`share` must be at most {mean_length / (mean_length + 1):.4g} for gaps of mean length {mean_length:g}, "
            f"got {share:g}: take a mean length of at least {share / (1 - share):.4g}"
        )
    one = lambda key: masks.chain(key, shape[1:], share, mean_length)  # noqa: E731
    return ~np.asarray(jax.vmap(one)(jax.random.split(key, shape[0])))


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InputError(f"`share` must be within 0 and 1, got {share}")
