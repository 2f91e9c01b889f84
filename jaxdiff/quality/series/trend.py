"""How far synthetic windows are from the trends that they should follow."""

import numpy as np
from jaxtyping import Float

from jaxdiff.quality.series.windows import checked_windows


def trend_error(trends: Float[np.ndarray, "n l f"], windows: Float[np.ndarray, "m k g"]) -> float:
    """The mean over windows of the Euclidean distance from their trend, over all steps and features at once.

    It grows with √(L F), and is not 0 for real windows, which differ from their own trend: give those beside it.

    Arguments:
        trends: (N, L, F).
        windows: (N, L, F), the window n drawn for the trend n.

    Raises:
        InputError: other numbers of windows; else as `checked_windows`.
    """
    trends, windows = checked_windows(trends, windows, least=max(len(trends), len(windows), 1))
    return float(np.sqrt(np.square(windows - trends).sum(axis=(1, 2))).mean())
