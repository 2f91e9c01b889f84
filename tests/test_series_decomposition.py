"""The parts of windows add up to the estimate of the windows, in the units of the table."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiff as jd
from jaxdiff import shipped
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.model import series_model
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import bridge_vp, ddpm
from jaxdiff.series_decomposition import decompose
from jaxdiff.spaces import Series

SPACE = Series(("load", "price"), 8, (10.0, -3.0), (30.0, 1.0))
WINDOWS = np.random.default_rng(0).uniform(SPACE.low, SPACE.high, (5, 8, 2))


def made(process):
    config = SeriesConfig(8, 2, width=8, heads=2, encoder=1, decoder=1)
    network = jax.jit(partial(series_transformer, config))(jax.random.key(0))
    drawn = np.random.default_rng(1)
    weights = jax.tree.map(lambda leaf: jnp.asarray(drawn.normal(size=leaf.shape) / 3, leaf.dtype), network.weights)
    return series_model(config, Network(weights, network.structure), process, "x0", SPACE)


@pytest.mark.parametrize("process", [bridge_vp(), ddpm("cosine", 500)], ids=lambda process: process.name)
def test_the_parts_add_up_to_the_estimate_in_the_units_of_the_table(process):
    model = made(process)
    trend, season, residual = decompose(model, WINDOWS)
    t = jnp.full(5, 1e-4)
    condition = BridgeCondition(end=jnp.zeros(WINDOWS.shape))
    x = model.process.noised(jnp.asarray(SPACE.encode(WINDOWS)), jnp.zeros(WINDOWS.shape), t)
    estimate = SPACE.decode(jax.jit(lambda *given: model.denoise(*given))(x, t, condition))
    np.testing.assert_allclose(trend + season + residual, estimate, rtol=1e-4, atol=1e-4)
    # a season and a residual have no level of their own: the residual's mean belongs to the trend
    assert np.abs(residual.mean(1)).max() < 1e-3 and np.abs(season.mean(1)).max() < 1e-3
    # a cubic polynomial and a level, of one block
    steps = np.vander(np.arange(1, 9) / 9, 4)
    fitted = np.einsum("ij,njf->nif", steps @ np.linalg.pinv(steps), trend)
    np.testing.assert_allclose(fitted, trend, atol=1e-3)


def test_models_and_windows_without_parts_are_errors():
    with pytest.raises(InputError, match="must predict x0 .* predicts edm"):
        decompose(jd.load(shipped.SERIES), np.zeros((1, 24, 5)))
    with pytest.raises(InputError, match="one of time series, got one of pixels"):
        decompose(jd.load(shipped.MODEL), WINDOWS)
    model = made(bridge_vp())
    with pytest.raises(InputError, match="finite"):
        decompose(model, np.full_like(WINDOWS, np.nan))
    with pytest.raises(InputError):
        decompose(model, WINDOWS[:, :4])
