"""Priors of observed values, which samples keep exactly: interpolation, and fixed points."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.interpolation import linear, neighbours
from jaxdiff.priors import masks
from jaxdiff.priors.prior import End, Paired, none

Interpolation = Literal["linear", "quadratic"]


class Observed(Paired):
    """A prior some of whose entries are those of x_0; samples have exactly these values there."""

    exact = True

    def project(self, x0: Float[Array, "... l f"], end: Float[Array, "... l f"], known: Bool[Array, "... l f"]) -> Array:
        """See `Prior.project`."""
        return jnp.where(known, end, x0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Imputation(Observed):
    """x_T interpolates the observed values of x_0 over time; samples keep these values exactly.

    In training, the observed entries are random, of one of three kinds (`masks.mixed`): single points, runs, and a past whose
    future is unknown, so that one model imputes and forecasts.

    Attributes:
        kind, least, most: see `fit`.
    """

    name = "imputation"
    about = "interpolation of observed values, which samples keep exactly: imputation and forecasts"

    kind: str = field(default="linear", metadata={"static": True})
    least: float = field(default=0.1, metadata={"static": True})
    most: float = field(default=0.9, metadata={"static": True})

    @classmethod
    def fit(
        cls,
        x0: Float[np.ndarray, "n l f"],
        seed: int = 0,
        *,
        kind: str = "linear",
        least: float = 0.1,
        most: float = 0.9,
    ) -> "Imputation":
        """See `Prior.fit`.

        Arguments:
            x0, seed: see `Prior.fit`.
            kind: `linear`, or `quadratic` through the two neighbours and the next observed value; beyond the first and the last
                observed value both are constant.
            least, most: the range of the missing share in training, 0 <= least <= most < 1.
        """
        if kind not in get_args(Interpolation):
            raise InputError(f"`kind` must be one of {', '.join(get_args(Interpolation))}, got {kind!r}")
        if not 0 <= least <= most < 1:
            raise InputError(f"`least` and `most` must be shares with 0 <= least <= most < 1, got {least} and {most}")
        settings = (kind, float(least), float(most))
        return cls(*cls(none(x0.shape), None, *settings)._of_rows(x0, seed), *settings)

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """See `Prior.pair`."""
        return self.given(x0, masks.mixed(key, x0.shape, self.least, self.most))

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """See `Prior.given`; a feature without any known value is 0, the middle of its range."""
        each = jax.vmap(linear if self.kind == "linear" else _quadratic, in_axes=1, out_axes=1)
        least = jnp.minimum(jnp.where(known, values, jnp.inf).min(0), -1)
        most = jnp.maximum(jnp.where(known, values, -jnp.inf).max(0), 1)
        return End(jnp.clip(each(values, known), least, most), known)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FixedPoints(Observed):
    """x_T is x_0 at a random tenth of its entries, and 0 elsewhere; samples keep these entries exactly.

    Attributes:
        share: see `fit`.
    """

    name = "fixed"
    about = "a few given entries, which samples keep exactly, and 0 elsewhere"

    share: float = field(default=0.1, metadata={"static": True})

    @classmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0, *, share: float = 0.1) -> "FixedPoints":
        """See `Prior.fit`.

        Arguments:
            x0, seed: see `Prior.fit`.
            share: of entries that are given in training, above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise InputError(f"`share` must lie above 0 and at most at 1, got {share}")
        return cls(*cls(none(x0.shape), None, float(share))._of_rows(x0, seed), float(share))

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """See `Prior.pair`."""
        return self.given(x0, jax.random.bernoulli(key, self.share, x0.shape))

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """See `Prior.given`."""
        return End(jnp.where(known, values, 0.0), known)


def _quadratic(values: Float[Array, " l"], known: Bool[Array, " l"]) -> Float[Array, " l"]:
    """Through the known neighbours and the next known value after them, or before; linear where there is no third."""
    places, length = jnp.arange(len(values)), len(values)
    straight, values = linear(values, known), jnp.where(known, values, 0.0)
    before, after = neighbours(known)
    at = lambda table, place, none: jnp.where((place >= 0) & (place < length), table[jnp.clip(place, 0, length - 1)], none)  # noqa: E731
    later, earlier = at(after, after + 1, length), at(before, before - 1, -1)
    third = jnp.where(later < length, later, earlier)
    inside = (before >= 0) & (after < length) & (third >= 0) & (third < length) & ~known
    x0, x1, x2 = before, after, third
    y0, y1, y2 = (values[jnp.clip(each, 0, length - 1)] for each in (x0, x1, x2))
    # placeholders keep the denominators away from 0 where the formula is not used
    x0, x1, x2 = jnp.where(inside, x0, 0), jnp.where(inside, x1, 1), jnp.where(inside, x2, 2)
    curve = (
        y0 * (places - x1) * (places - x2) / ((x0 - x1) * (x0 - x2))
        + y1 * (places - x0) * (places - x2) / ((x1 - x0) * (x1 - x2))
        + y2 * (places - x0) * (places - x1) / ((x2 - x0) * (x2 - x1))
    )
    return jnp.where(inside, curve, straight)
