"""The standard normal prior."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from jaxdiff.priors.prior import End, Prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal(Prior):
    """N(0, I), independent of the data: with x_T as an input of the network, the bridge is a diffusion model of x_0."""

    name = "normal"
    about = "N(0, I)"

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0) -> "Normal":
        """See `Prior.fit`."""
        return cls()

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """See `Prior.draw`."""
        return End(jax.random.normal(key, shape), None)
