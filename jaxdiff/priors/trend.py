"""The prior of a series' trend."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.priors.prior import End, Paired, none

Filter = Literal["butterworth", "polynomial", "linear"]
ORDER, CUTOFF = 4, 2 / 7  # of the Butterworth filter, in units of the Nyquist frequency (TimeBridge, released configuration)
DEGREES = {"polynomial": 3, "linear": 1}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trend(Paired):
    """x_T is the trend of x_0, a linear map of each feature over time, clipped to [-1, 1]; samples follow it softly.

    - `butterworth`: low-pass of order 4 with cut-off 2/7 of the Nyquist frequency, filtered forward and backward.
    - `polynomial`, `linear`: the least-squares polynomial of degree 3, or 1.

    Attributes:
        smoother: the map over time, (L, L).
        kind: one of the three.
    """

    name = "trend"
    about = "the trend of the series: low-pass, polynomial or linear; samples follow it softly"

    smoother: Float[Array, "l l"]
    kind: str = field(default="butterworth", metadata={"static": True})

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0, *, kind: str = "butterworth") -> "Trend":
        """See `Prior.fit`.

        Arguments:
            x0, seed: see `Prior.fit`.
            kind: `butterworth`, `polynomial` or `linear`.
        """
        if kind not in get_args(Filter):
            raise InputError(f"`kind` must be one of {', '.join(get_args(Filter))}, got {kind!r}")
        smoother = jnp.asarray(_smoother(kind, x0.shape[1]), jnp.float32)
        unfitted = cls(none(x0.shape), None, smoother, kind)
        return cls(*unfitted._of_rows(x0, seed), smoother, kind)

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """See `Prior.pair`."""
        return End(jnp.clip(jnp.matmul(self.smoother, x0, precision="highest"), -1.0, 1.0), None)

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """The values themselves, as the trend to follow; all must be known (see `Prior.given`)."""
        if not bool(np.asarray(known).all()):
            raise InputError(f"prior {self.name} takes a whole trend, got {int((~np.asarray(known)).sum())} missing values")
        return End(jnp.asarray(values), None)


def _smoother(kind: str, length: int) -> Float[np.ndarray, "l l"]:
    """The filter as a matrix over time, from its effect on unit impulses."""
    if kind == "butterworth":
        import scipy.signal  # imports scipy.stats, which takes a second

        numerator, denominator = scipy.signal.butter(ORDER, CUTOFF)
        padding = min(3 * (ORDER + 1), length - 1)
        return scipy.signal.filtfilt(numerator, denominator, np.eye(length), axis=0, padlen=padding)
    basis = np.vander(np.linspace(-1, 1, length), DEGREES[kind] + 1)
    return basis @ np.linalg.pinv(basis)
