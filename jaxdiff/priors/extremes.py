"""The prior of a series' minimum and maximum."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.priors.prior import End, Paired, none


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Extremes(Paired):
    """x_T is x_0 at the minimum and the maximum of each feature, and 0 elsewhere.

    Samples have these values at these times, and lie between them elsewhere.
    """

    name = "extremes"
    about = "the minimum and maximum of each feature and their times, which samples keep exactly"
    exact = True

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0) -> "Extremes":
        """See `Prior.fit`."""
        return cls(*cls(none(x0.shape), None)._of_rows(x0, seed))

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """See `Prior.pair`."""
        places = jnp.arange(len(x0))[:, None]
        known = (places == x0.argmin(0)) | (places == x0.argmax(0))
        return End(jnp.where(known, x0, 0.0), known)

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """The known values are the extremes: at least one of each feature (see `Prior.given`)."""
        if not bool(np.asarray(known).any(0).all()):
            raise InputError(f"prior {self.name} takes the minimum and the maximum of each feature, and one has neither")
        return End(jnp.where(known, values, 0.0), known)

    def project(self, x0: Float[Array, "... l f"], end: Float[Array, "... l f"], known: Bool[Array, "... l f"]) -> Array:
        """See `Prior.project`."""
        least = jnp.where(known, end, jnp.inf).min(-2, keepdims=True)
        most = jnp.where(known, end, -jnp.inf).max(-2, keepdims=True)
        return jnp.where(known, end, jnp.clip(x0, least, most))
