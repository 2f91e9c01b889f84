"""The training loss of series models: bridges, and diffusion models as their baseline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.choices import BOUNDARIES, Prediction, check_boundaries
from jaxdiff.errors import InputError
from jaxdiff.models.labels import NULL
from jaxdiff.process import Bridge, Process
from jaxdiff.series_loss import series_error
from jaxdiff.training import Losses, stratified_times

SeriesWeighting = Literal["published", "relative", "none"]
SeriesError = Literal["absolute", "squared"]
EARLIEST = 1e-4  # the first training time of TimeBridge


@dataclass(frozen=True)
class SeriesObjective(Losses):
    """The weighted error of x_0 at uniform times.

    The squared error is least at the posterior mean of x_0, the absolute one at the median.

    Arguments:
        prediction: what the network predicts.
        error: `absolute`, of x_0 and of its Fourier transform (`series_error`), as Diffusion-TS and TimeBridge; or `squared`.
        weighting: of the error over time. With c_out² = sigma_data² (a² sigma_data² + c²) / ((a² + b²) sigma_data² + c²) of a
            bridge (Zhou et al. 2024, eq. 14, with x_T independent of x_0),
            - `published`: 1 / c_out², as TimeBridge; for a diffusion model alpha sigma / (g² 100 / timesteps), as Diffusion-TS.
            - `relative`: the error relative to its scale, 1 / c_out for the absolute and 1 / c_out² for the squared error; for
              a diffusion model the same with a = 0.
            - `none`: 1.
        sigma_data: standard deviation of the data.
        label_dropout: probability of training a window with the null label.
        phases: see `Losses`.
    """

    prediction: str = "x0"
    error: str = "absolute"
    weighting: str = "published"
    sigma_data: float = 0.5
    label_dropout: float = 0.1
    phases: tuple[float, float] = BOUNDARIES

    def __post_init__(self):
        if self.prediction not in get_args(Prediction):
            raise InputError(f"`prediction` must be one of {', '.join(get_args(Prediction))}, got {self.prediction!r}")
        if self.error not in get_args(SeriesError):
            raise InputError(f"`error` must be one of {', '.join(get_args(SeriesError))}, got {self.error!r}")
        if self.weighting not in get_args(SeriesWeighting):
            raise InputError(f"`weighting` must be one of {', '.join(get_args(SeriesWeighting))}, got {self.weighting!r}")
        if not self.sigma_data > 0:
            raise InputError(f"`sigma_data` must be above 0, got {self.sigma_data}")
        if not 0 <= self.label_dropout <= 1:
            raise InputError(f"`label_dropout` must lie in [0, 1], got {self.label_dropout}")
        check_boundaries(self.phases)

    def weights(self, process: Process, t: Float[Array, " b"]) -> Float[Array, " b"]:
        """The weight of the error at each time, (B,)."""
        if self.weighting == "none":
            return jnp.ones_like(t)
        if self.weighting == "published" and not isinstance(process, Bridge):
            return process.alpha(t) * process.sigma(t) * process.timesteps / (100 * process.g2(t))
        data, b2, c2 = self.sigma_data**2, process.alpha(t) ** 2, process.sigma(t) ** 2
        a2 = process.end_weight(t) ** 2 if isinstance(process, Bridge) else jnp.zeros_like(t)
        squared = data * (a2 * data + c2) / ((a2 + b2) * data + c2)
        return 1 / squared if self.weighting == "published" or self.error == "squared" else 1 / jnp.sqrt(squared)

    def draw(self, process: Process, batch: dict[str, Array], key: PRNGKeyArray) -> tuple[dict[str, Array], Array]:
        """Times, noise, labels and, for a bridge, x_T of each window; see `Losses.draw`."""
        x0, labels = batch["x0"], batch["labels"]
        time_key, noise_key, label_key, end_key, dropout_key = jax.random.split(key, 5)
        t = EARLIEST + (1 - EARLIEST) * stratified_times(time_key, len(x0))
        dropped = jax.random.bernoulli(label_key, self.label_dropout, t.shape)[:, None]
        drawn = {"x0": x0, "noise": jax.random.normal(noise_key, x0.shape), "t": t, "labels": jnp.where(dropped, NULL, labels)}
        if isinstance(process, Bridge):
            ends = jax.vmap(process.prior_of_end.pair)(jax.random.split(end_key, len(x0)), x0)
            drawn["end"] = ends.end
            if ends.known is not None:
                drawn["known"] = ends.known
        return drawn, dropout_key

    def losses_of(
        self, network: Callable, process: Process, drawn: dict[str, Array], dropout_key: PRNGKeyArray | None
    ) -> Float[Array, " b"]:
        """The weighted error of each window; see `Losses`."""
        x0, t = drawn["x0"], drawn["t"]
        labels = drawn["labels"] if drawn["labels"].shape[1] else None
        condition = BridgeCondition(drawn.get("end"), drawn.get("known"), labels)
        x = process.noised(x0, drawn["noise"], t)
        output = network(process.network_input(x, t, condition), t, condition, dropout_key=dropout_key)
        estimate = process.estimate(cast(Prediction, self.prediction), output, x, t, condition)
        error = jnp.square(estimate - x0).mean((1, 2)) if self.error == "squared" else series_error(estimate, x0)
        return self.weights(process, t) * error
