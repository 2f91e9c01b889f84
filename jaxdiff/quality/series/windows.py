"""What every measure of windows of time series takes."""

import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.errors import InputError


def checked_windows(
    real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"], *, least: int = 1, length: int = 1
) -> tuple[Float64[np.ndarray, "n l f"], Float64[np.ndarray, "m l f"]]:
    """Both sets of windows in float64.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F).
        least: windows that each must have.
        length: time steps that each window must have.

    Raises:
        InputError: too few windows or time steps, no feature, other lengths or features, NaN or infinity.
    """
    if min(len(real), len(synthetic)) < least or real.shape[1:] != synthetic.shape[1:]:
        raise InputError(
            f"`real` and `synthetic` must be at least {least} windows each, of one length and the same features, "
            f"got shapes {real.shape} and {synthetic.shape}"
        )
    if real.shape[1] < length or not real.shape[2]:
        raise InputError(f"windows must have at least {length} time steps and one feature, got shape {real.shape[1:]}")
    for name, windows in (("real", real), ("synthetic", synthetic)):
        if not np.isfinite(windows).all():
            raise InputError(f"`{name}` must be finite, got NaN or infinity")
    return np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
