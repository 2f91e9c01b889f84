"""The Gaussian process prior."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.priors.prior import End, Prior

Kernel = Literal["rbf", "data"]
JITTER = 1e-6  # on the diagonal of the data's own covariance, in units of its mean


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianProcess(Prior):
    """Each feature f is normal over time, with the data's mean at each time and one of two covariances:

    - `rbf`: variance K + diag(std²), K_ij = exp(-(i - j)² / (2 length²)), with the data's standard deviation at each time.
    - `data`: the covariance of the training series over time.

    Features are independent of one another. TimeBridge's released code adds std to the diagonal where variances add, and its
    length is the standard deviation of all data, below one time step for data in [-1, 1], so that K is nearly diagonal.
    Neither is taken over: here `length` is in time steps.

    Attributes:
        mean: (L, F).
        factor: the Cholesky factor of each feature's covariance, (F, L, L).
        kernel, length, variance: see `fit`.
    """

    name = "gp"
    about = "a Gaussian process over time for each feature, around the data's mean"

    mean: Float[Array, "l f"]
    factor: Float[Array, "f l l"]
    kernel: str = field(default="rbf", metadata={"static": True})
    length: float = field(default=3.0, metadata={"static": True})
    variance: float = field(default=0.5, metadata={"static": True})

    @classmethod
    def fit(
        cls,
        x0: Float[np.ndarray, "n l f"],
        seed: int = 0,
        *,
        kernel: str = "rbf",
        length: float = 3.0,
        variance: float = 0.5,
    ) -> "GaussianProcess":
        """See `Prior.fit`.

        Arguments:
            x0, seed: see `Prior.fit`.
            kernel: `rbf` or `data`.
            length: of the kernel `rbf`, in time steps, above 0.
            variance: of the kernel `rbf`, at least 0; 0 leaves independent entries.

        Raises:
            InputError: a setting is out of range.
        """
        if kernel not in get_args(Kernel):
            raise InputError(f"`kernel` must be one of {', '.join(get_args(Kernel))}, got {kernel!r}")
        if not 0 < length < 1e6:
            raise InputError(f"`length` must be a number of time steps above 0, got {length}")
        if not 0 <= variance < 1e6:
            raise InputError(f"`variance` must be at least 0, got {variance}")
        rows = np.asarray(x0, np.float64)
        mean, steps = rows.mean(0), np.arange(rows.shape[1])
        if kernel == "data":
            centred = rows - mean
            covariance = np.einsum("nif,njf->fij", centred, centred) / len(rows)
            mean_variance = np.trace(covariance, axis1=1, axis2=2)[:, None, None] / len(steps)
            covariance += JITTER * np.maximum(mean_variance, 1e-12) * np.eye(len(steps))
        else:
            shared = variance * np.exp(-((steps[:, None] - steps) ** 2) / (2 * length**2))
            # a feature that is constant at some time needs a little room for the factor
            covariance = shared + np.stack([np.diag(np.maximum(each, 1e-4) ** 2) for each in rows.std(0).T])
        factor = np.linalg.cholesky(covariance)
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(factor, jnp.float32), kernel, float(length), float(variance))

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """See `Prior.draw`."""
        noise = jax.random.normal(key, self.mean.shape)
        return End(self.mean + jnp.einsum("fij,jf->if", self.factor, noise, precision="highest"), None)
