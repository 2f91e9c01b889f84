"""A model of imputation whose denoiser is exact: windows of two correlated autoregressive series, a Gaussian whose conditional
mean and covariance given observed values are known in closed form."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import model as models
from jaxdiff.denoiser import as_denoiser
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.priors import Imputation
from jaxdiff.process import bridge_ve
from jaxdiff.process.protocol import expand
from jaxdiff.spaces import Series

LENGTH, COLUMNS = 8, ("load", "price")
LOW, HIGH = (0.0, 100.0), (10.0, 300.0)
CORRELATION, MEMORY, SD = 0.6, 0.8, 0.3
"""Between the columns, from a row to the next, and standard deviation on the scale of the process."""
MEAN = np.tile([0.1, -0.2], LENGTH)


def covariance(length=LENGTH):
    """The covariance of windows (L, F) as vectors, on the scale of the process."""
    rows = np.arange(length)
    return SD**2 * np.kron(MEMORY ** np.abs(rows[:, None] - rows), [[1, CORRELATION], [CORRELATION, 1]])


def units(x):
    """From the scale of the process to that of the table."""
    return np.asarray(LOW) + (np.asarray(x) + 1) / 2 * np.subtract(HIGH, LOW)


def conditional(known, values):
    """Mean and covariance of a window given the values of known entries; vectors, on the scale of the process."""
    cov, hidden = covariance(), ~known
    gain = cov[:, known] @ np.linalg.inv(cov[np.ix_(known, known)]) if known.any() else np.zeros((len(cov), 0))
    mean = MEAN + gain @ (values[known] - MEAN[known])
    rest = cov - gain @ cov[known]
    return mean, np.where(np.outer(hidden, hidden), rest, 0)


class _Exact:
    """The posterior mean of x_0 given the state and the observed values; knows some patterns of these."""

    def __init__(self, process, patterns):
        self._process, self._patterns = process, jnp.asarray(patterns)
        gains, spectra = [], []
        for known in patterns:
            mean = lambda values, known=known: conditional(known, values)[0]  # noqa: E731
            zero = mean(np.zeros(len(MEAN)))
            gains.append((zero, np.stack([mean(unit) - zero for unit in np.eye(len(MEAN))], axis=1)))
            spectra.append(np.linalg.eigh(conditional(known, MEAN)[1]))
        self._offset, self._gain = (jnp.asarray(np.stack(each), jnp.float32) for each in zip(*gains, strict=True))
        self._variance, self._vectors = (jnp.asarray(np.stack(each), jnp.float32) for each in zip(*spectra, strict=True))

    def __call__(self, x, t, condition):
        known, values = (each.reshape(len(x), -1) for each in (condition.known, condition.end))
        at = jnp.argmax((known[:, None] == self._patterns).all(-1), axis=1)
        mean = self._offset[at] + jnp.einsum("bij,bj->bi", self._gain[at], jnp.where(known, values, 0.0))
        b, c = (expand(each, mean) for each in (self._process.alpha(t), self._process.sigma(t)))
        shrink = b * self._variance[at] / (b**2 * self._variance[at] + c**2)
        turned = jnp.einsum("bji,bj->bi", self._vectors[at], x.reshape(len(x), -1) - b * mean)
        return (mean + jnp.einsum("bij,bj->bi", self._vectors[at], shrink * turned)).reshape(x.shape)


@dataclass(frozen=True, kw_only=True)
class ExactModel(models.Model):
    """A model whose network is not used."""

    exact: Any = None

    def denoiser(self, policy=None):
        policy = self.policy if policy is None else policy
        return policy.network(as_denoiser(self.exact))


def exact_model(patterns, *, prior=None):
    """The model, for windows with these patterns of observed values (P, L F)."""
    config = SeriesConfig(
        length=LENGTH, features=2, width=8, heads=1, encoder=1, decoder=1, end_input=True, known_input=True
    )  # fmt: skip
    shapes = jax.eval_shape(partial(series_transformer, config), jax.random.key(0))
    network = Network(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.weights), shapes.structure)
    x0 = np.zeros((2, LENGTH, 2), np.float32)
    process = bridge_ve(1.0, prior or Imputation.fit(x0))
    made = models.series_model(config, network, process, "x0", Series(COLUMNS, LENGTH, LOW, HIGH))
    fields = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return ExactModel(**{**fields, "fingerprint": "exact"}, exact=_Exact(process, patterns))
