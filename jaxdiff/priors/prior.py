"""The interface of priors: distributions of x_T, where a bridge begins its samples.

A prior is a registered pytree. A new one is a subclass in a file of its own, and a line in `PRIORS`.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.errors import InputError

ROWS = 256  # training rows whose x_T a paired prior keeps, to draw from where none is given


class End(NamedTuple):
    """An x_T.

    Attributes:
        end: x_T, of the shape of x_0.
        known: which of its entries are values of x_0 itself, of the same shape; None where that has no meaning.
    """

    end: Float[Array, "..."]
    known: Bool[Array, "..."] | None


class Prior(ABC):
    """A distribution of x_T, for series x_0 of shape (L, F) on the scale of the process.

    Fields:
        name: its name in files and on the command line.
        about: what it is, in a line.
        paired: whether x_T is a function of x_0: a condition, such as a trend or the observed values.
        exact: whether a sample must satisfy the condition of its x_T exactly, see `project`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    paired: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def fit(cls, x0: Float[np.ndarray, "n l f"], seed: int = 0) -> "Prior":
        """The prior of a training set; a subclass takes its settings as further keywords.

        Arguments:
            x0: the training series, encoded, finite.
            seed: of what is drawn to fit it.
        """

    @abstractmethod
    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """An x_T of one sample.

        Arguments:
            key: a key.
            shape: (L, F).
        """

    def pair(self, key: PRNGKeyArray, x0: Float[Array, "l f"]) -> End:
        """The x_T of a training series: drawn independently of it, unless the prior is `paired`."""
        return self.draw(key, x0.shape)

    def given(self, values: Float[Array, "l f"], known: Bool[Array, "l f"]) -> End:
        """The x_T of what a user gives.

        Arguments:
            values: values on the scale of the process; those that are not known are ignored.
            known: which are given.

        Raises:
            InputError: this prior is no condition.
        """
        raise InputError(f"prior {self.name} is no condition: it takes no values, got some")

    def project(self, x0: Float[Array, "... l f"], end: Float[Array, "... l f"], known: Any) -> Float[Array, "... l f"]:
        """The posterior mean moved to where the condition of x_T holds exactly; as it is unless the prior is `exact`."""
        return x0

    def settings(self) -> dict[str, Any]:
        """The settings, as JSON has them, with lists for tuples: the static fields."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.metadata.get("static")}  # ty: ignore
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that were fitted, by name."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if not each.metadata.get("static")}  # ty: ignore
        return {name: np.asarray(value) for name, value in given.items() if value is not None}

    def config(self) -> dict[str, Any]:
        """Name, settings and a checksum of the arrays: JSON-ready, and equal for equal priors."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode() + array.tobytes())
        checksum = {"checksum": digest.hexdigest()[:16]} if self.arrays() else {}
        return {"name": self.name, **self.settings(), **checksum}


@dataclass(frozen=True)
class Paired(Prior):
    """A prior whose x_T is a function of x_0. Where none is given, that of a random training row is drawn.

    Attributes:
        ends: the x_T of some training rows, (K, L, F).
        knowns: their `End.known`, or None.
    """

    ends: Float[Array, "k l f"]
    knowns: Bool[Array, "k l f"] | None

    paired: ClassVar[bool] = True

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> End:
        """See `Prior.draw`."""
        row = jax.random.randint(key, (), 0, len(self.ends))
        return End(self.ends[row], None if self.knowns is None else self.knowns[row])

    def _of_rows(self, x0: Float[np.ndarray, "n l f"], seed: int) -> tuple[Array, Array | None]:
        """The x_T of randomly chosen rows."""
        chosen = np.random.default_rng(seed).permutation(len(x0))[:ROWS]
        keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(len(chosen)))
        found = jax.jit(jax.vmap(self.pair))(keys, jnp.asarray(x0[chosen], jnp.float32))
        return found.end, found.known


def none(shape: tuple[int, ...]) -> Array:
    """The rows of a prior before it is fitted."""
    return jnp.zeros((0, *shape[1:]), jnp.float32)
