"""The uniform prior."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from jaxdiff.priors.prior import End, Prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform(Prior):
    """U(-1, 1) for every entry: the range of encoded series."""

    name = "uniform"
    about = "U(-1, 1) for every entry"

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0) -> "Uniform":
        """See `Prior.fit`."""
        return cls()

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """See `Prior.draw`."""
        return End(jax.random.uniform(key, shape, minval=-1.0, maxval=1.0), None)
