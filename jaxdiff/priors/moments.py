"""The prior of the data's means and standard deviations."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff.priors.prior import End, Prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Moments(Prior):
    """N(mean, std²) with the training set's mean and standard deviation at each time and feature, entries independent.

    Attributes:
        mean, std: (L, F).
    """

    name = "moments"
    about = "normal, with the data's mean and standard deviation at each time and feature"

    mean: Float[Array, "l f"]
    std: Float[Array, "l f"]

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0) -> "Moments":
        """See `Prior.fit`."""
        rows = np.asarray(x0, np.float64)
        return cls(jnp.asarray(rows.mean(0), jnp.float32), jnp.asarray(rows.std(0), jnp.float32))

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """See `Prior.draw`."""
        return End(self.mean + self.std * jax.random.normal(key, self.mean.shape), None)
