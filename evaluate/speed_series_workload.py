"""The workload of both frameworks in `evaluate speed` with a network of time series: a bridge from N(0, I)."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.model import Model, series_model
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.presets import series_preset
from jaxdiff.process import Process, bridge_vp
from jaxdiff.series_training import SeriesObjective
from jaxdiff.solvers import HybridHeun
from jaxdiff.spaces import Series

from .speed_workload import Workload, randomised

SERIES = {
    "etth": replace(series_preset("etth").network, features=7),
    "series-rehearsal": SeriesConfig(8, 2, width=16, heads=2),
}
"""The networks of time series; that of the preset `etth` with the seven columns of its data."""
OUTPUTS = ("season", "residual", "trend/out", "mean")
"""The names of the layers whose outputs are summed."""
PREDICTION = "x0"
SIGMA_DATA = series_preset("etth").sigma_data


@dataclass(frozen=True)
class SeriesWorkload(Workload):
    """The sizes of the tasks; what is called an image elsewhere is a window. See `Workload`.

    Arguments:
        config: the network, without labels.
        steps: number of steps of the bridge's sampler.
    """

    config: SeriesConfig  # ty: ignore[override-of-final-variable]

    @cached_property
    def network(self) -> Network:
        """See `Workload.network`; estimates are small, since a run of a network that is no denoiser grows without bound."""
        network = randomised(jax.jit(partial(series_transformer, self.config))(jax.random.key(self.seed)), self.seed)

        def scaled(path, leaf):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return leaf * 0.03 if any(part in name for part in OUTPUTS) else leaf

        return Network(jax.tree_util.tree_map_with_path(scaled, network.weights), network.structure)

    def in_dtype(self, dtype: str) -> Network:
        """See `Workload.in_dtype`."""
        config = replace(self.config, dtype=dtype)
        structure = jax.eval_shape(partial(series_transformer, config), jax.random.key(0)).structure
        return Network(self.network.weights, structure)

    @cached_property
    def process(self) -> Process:
        """The bridge of TimeBridge's configuration of ETTh1, from N(0, I)."""
        return bridge_vp()

    @property
    def solver(self) -> HybridHeun:
        """The sampler of bridges."""
        return HybridHeun(self.steps)

    def model(self, dtype: str) -> Model:
        """See `Workload.model`."""
        length, features = self.shape
        names, low, high = tuple(f"x{i}" for i in range(features)), (0.0,) * features, (1.0,) * features
        config = replace(self.config, dtype=dtype)
        return series_model(config, self.in_dtype(dtype), self.process, PREDICTION, Series(names, length, low, high))

    def condition(self, count: int) -> Any:
        """No labels; x_T is drawn from the prior."""
        return BridgeCondition()

    def ends(self, count: int) -> np.ndarray:
        """The x_T of a run that both frameworks compare, (count, L, F)."""
        return np.random.default_rng(self.seed).standard_normal((count, *self.shape), np.float32)

    def training_batch(self) -> dict[str, jax.Array]:
        """See `Workload.training_batch`."""
        return {"x0": jnp.asarray(self.images(self.train_batch)), "labels": jnp.zeros((self.train_batch, 0), jnp.int32)}

    @property
    def objective(self) -> SeriesObjective:
        """See `Workload.objective`."""
        return SeriesObjective(PREDICTION, sigma_data=SIGMA_DATA)
