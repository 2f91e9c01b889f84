"""The trend, the season and the residual of windows, as the network of a model of time series sees them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.models.network import Network
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.series_transformer import Decomposition
from jaxdiff.process import Bridge
from jaxdiff.series_training import EARLIEST
from jaxdiff.spaces import Series


def decompose(
    model: Model, windows: Float[np.ndarray, "n length f"], condition: BridgeCondition | None = None
) -> Decomposition:
    """The parts of windows, in the units of the table: their sum is the network's estimate of the windows from themselves.

    The network sees the windows at the first training time, where there is next to no noise. Its estimate is the sum of a
    polynomial trend, a season of few frequencies and a residual (Diffusion-TS, arXiv 2403.01742, section 3.2). The trend has
    the level of each column; season and residual vary around 0.

    Arguments:
        model: a model of time series that predicts x_0: one that was trained with the prediction `x0`.
        windows: float64 (N, L, F) in the units of the table, without missing values: a drawn set, or real windows.
        condition: the labels of the windows, or the x_T of each; None for none.

    Returns:
        Three arrays, float64 (N, L, F).

    Raises:
        InputError: the model is none of time series, its network predicts something else than x_0 or takes an x_T that is not
            given, or `windows` are not of its shape or not finite.
    """
    space, condition = model.space, BridgeCondition() if condition is None else condition
    if not isinstance(space, Series):
        raise InputError(f"`model` must be one of time series, got one of {space.name}")
    if model.prediction != "x0":
        raise InputError(
            f"`model` must predict x0 to have a trend and a season of it, got one that predicts {model.prediction}"
        )
    space.check(windows)
    if not np.isfinite(windows).all():
        raise InputError("`windows` must be finite, without missing values")
    if isinstance(model.process, Bridge) and condition.end is None:
        if isinstance(model.config, SeriesConfig) and model.config.end_input:
            raise InputError("`condition` must have the `end` x_T of each window, which is an input of this network")
        condition = condition._replace(end=jnp.zeros(windows.shape, jnp.float32))  # its weight is next to 0
    parts = _parts(model.network, model.process, jnp.asarray(space.encode(windows)), condition)
    low, high = np.asarray(space.low), np.asarray(space.high)
    trend, season, residual = (np.asarray(part, np.float64) * (high - low) / 2 for part in parts)
    return Decomposition(trend + (low + high) / 2, season, residual)


@jax.jit
def _parts(network: Network, process, x0, condition) -> Decomposition:
    t = jnp.full(len(x0), EARLIEST)
    x = process.noised(x0, jnp.zeros_like(x0), t)
    return network.decompose(process.network_input(x, t, condition), t, condition)
