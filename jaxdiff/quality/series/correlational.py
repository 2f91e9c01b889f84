"""The correlational score: whether the features of a synthetic set depend on each other as those of a real one do."""

import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.quality.series.repeats import REPEATS, Repeats, check_repeats
from jaxdiff.quality.series.windows import checked_windows


def feature_correlations(windows: Float[np.ndarray, "n l f"]) -> Float64[np.ndarray, "f f"]:
    """Pearson's correlation of each pair of features over all windows and time steps at once, at lag 0 (F, F).

    A constant feature has no correlation: its row and column, the diagonal included, are 0.

    Arguments:
        windows: (N, L, F), finite, N L at least 1.
    """
    rows = np.asarray(windows, np.float64).reshape(-1, windows.shape[2])
    constant = rows.max(axis=0) == rows.min(axis=0)
    centred = rows - rows.mean(axis=0)
    scale = np.where(constant, 1, np.sqrt(np.square(centred).mean(axis=0)))
    standard = np.where(constant, 0, centred / scale)
    return standard.T @ standard / len(rows)


def correlational_distance(real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"]) -> float:
    """A tenth of the sum of |C_real - C_synthetic| over all pairs i <= j of features, by `feature_correlations`.

    The score of Ni et al. 2020 (arXiv 2006.05421) at lag 0, scaled as Yuan and Qiao 2024 do (arXiv 2403.01742). It grows with
    the number of pairs, F (F - 1) / 2: compare it for the same features only.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F).

    Raises:
        InputError: see `checked_windows`.
    """
    real, synthetic = checked_windows(real, synthetic)
    apart = np.abs(feature_correlations(real) - feature_correlations(synthetic))
    return float(np.triu(apart).sum() / 10)


def correlational_score(
    real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"], *, repeats: int = REPEATS, seed: int = 0
) -> Repeats:
    """`correlational_distance` as it is published: of N / 5 real and M / 5 synthetic windows in each of five repeats.

    The windows of each repeat are drawn with replacement. The sampling noise of so few windows adds to every absolute
    difference, so that the score is above `correlational_distance` of all windows, and above 0 for equal distributions.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F), at least as many as `repeats`.
        repeats: R, at least 1; each takes N / R and M / R windows, rounded down.
        seed: of the windows.

    Raises:
        InputError: fewer windows than repeats; else as `checked_windows`.
    """
    check_repeats(repeats)
    real, synthetic = checked_windows(real, synthetic, least=repeats)
    scores = []
    for repeat in range(repeats):
        generator = np.random.default_rng([seed, repeat])
        taken = [each[generator.integers(len(each), size=len(each) // repeats)] for each in (real, synthetic)]
        scores.append(correlational_distance(*taken))
    return Repeats.of(scores)
