"""The prior of prices: the opening price of each day."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.priors.prior import End, Paired, none


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OpenHighLowClose(Paired):
    """x_T is the opening price in each of the four price columns, and 0 in the others.

    Samples keep the opening price exactly, and satisfy low <= open, close <= high. Prices are compared in the user's units,
    since each column is scaled by its own range.

    Attributes:
        low, high: the values of each column that are encoded as -1 and 1, (F,).
        columns: the positions of open, high, low and close.
    """

    name = "ohlc"
    about = "the opening price in all price columns; samples keep it, and low <= open, close <= high"
    exact = True

    low: Float[Array, " f"]
    high: Float[Array, " f"]
    columns: tuple[int, ...] = field(default=(0, 1, 2, 3), metadata={"static": True})

    @classmethod
    def fit(
        cls,
        x0: Float[np.ndarray, "n l f"],
        seed: int = 0,
        *,
        low: tuple[float, ...] | None = None,
        high: tuple[float, ...] | None = None,
        columns: tuple[int, ...] = (0, 1, 2, 3),
    ) -> "OpenHighLowClose":
        """See `Prior.fit`.

        Arguments:
            x0, seed: see `Prior.fit`.
            low, high: the values of each column that are encoded as -1 and 1; by default -1 and 1 themselves.
            columns: the positions of the columns open, high, low and close.
        """
        features = x0.shape[2]
        if len(set(columns)) != 4 or not all(0 <= each < features for each in columns):
            raise InputError(f"`columns` must be four different positions below {features}, got {columns}")
        low_, high_ = (np.full(features, default) if given is None else np.asarray(given, np.float64)
                       for given, default in ((low, -1.0), (high, 1.0)))  # fmt: skip
        if low_.shape != (features,) or high_.shape != (features,) or not (low_ < high_).all():
            raise InputError(f"`low` and `high` must be {features} numbers each, with low below high, got {low} and {high}")
        scaling = (jnp.asarray(low_, jnp.float32), jnp.asarray(high_, jnp.float32), tuple(int(each) for each in columns))
        return cls(*cls(none(x0.shape), None, *scaling)._of_rows(x0, seed), *scaling)

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """See `Prior.pair`."""
        return self.given(x0, jnp.ones(x0.shape, bool))

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """Only the column of opening prices is read; see `Prior.given`."""
        first = self.columns[0]
        prices = jnp.asarray(self.columns)
        opening = self._shown(values)[:, first]
        end = jnp.zeros_like(values).at[:, prices].set(self._encoded(opening[:, None])[:, prices])
        mask = jnp.zeros(values.shape, bool).at[:, first].set(known[:, first])
        return End(jnp.where(known[:, first : first + 1], end, 0.0).at[:, first].set(values[:, first]), mask)

    def project(self, x0: Float[Array, "... l f"], end: Float[Array, "... l f"], known: Bool[Array, "... l f"]) -> Array:
        """See `Prior.project`: the highest of the four prices is the high, and the lowest the low."""
        x0 = jnp.where(known, end, x0)
        _, high, low, _ = self.columns
        prices = self._shown(x0)[..., jnp.asarray(self.columns)]
        most, least = self._encoded(prices.max(-1, keepdims=True)), self._encoded(prices.min(-1, keepdims=True))
        return x0.at[..., high].set(most[..., high]).at[..., low].set(least[..., low])

    def _shown(self, x: Array) -> Array:
        return self.low + (x + 1) / 2 * (self.high - self.low)

    def _encoded(self, prices: Array) -> Array:
        return 2 * (prices - self.low) / (self.high - self.low) - 1
