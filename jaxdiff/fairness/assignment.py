"""Assignment of attribute values to the images to generate, in given shares (Fair Diffusion's draw)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from jaxdiff.errors import InputError

MODES = ("balanced", "iid")


def assign(
    count: int, target: Sequence[float] | np.ndarray, *, seed: int | Sequence[int], mode: str = "balanced"
) -> Int[np.ndarray, " count"]:
    """Assigns a value to each of `count` images, in the shares of `target`.

    Arguments:
        count: images, at least 1.
        target: (K,) shares of the values, at least 0, that sum to 1.
        seed: of the random order or draws; numbers of at least 0.
        mode: `balanced` gives each value its exact count, rounded by the largest remainders, in shuffled order (Friedrich et
            al. 2023 for two equal shares); `iid` draws each image independently.

    Returns:
        Values (count,) in 0..K-1.

    Raises:
        InputError: shares that are negative or do not sum to 1, no images, or an unknown mode.
    """
    shares = np.asarray(target, np.float64)
    if shares.ndim != 1 or not len(shares) or shares.min() < 0 or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"`target` must be shares of at least 0 that sum to 1, got {shares.tolist()}")
    if count < 1:
        raise InputError(f"`count` must be at least 1, got {count}")
    if mode not in MODES:
        raise InputError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}")
    generator = np.random.default_rng(seed)
    if mode == "iid":
        return generator.choice(len(shares), size=count, p=shares / shares.sum())
    exact = count * shares / shares.sum()
    counts = np.floor(exact + 1e-9).astype(int)
    # ties are broken in favour of the earlier value
    counts[np.argsort(counts - exact, kind="stable")[: count - counts.sum()]] += 1
    return generator.permutation(np.repeat(np.arange(len(shares)), counts))
