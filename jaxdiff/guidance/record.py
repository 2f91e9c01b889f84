"""A record of the effect of a guidance on each sample: whether, when and how strongly it acted."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.denoiser import Guidance, Stateful
from jaxdiff.parallel import unstacked


class Record(NamedTuple):
    """The effect of a guidance on each sample.

    Attributes:
        acted: number of nodes at which it changed the posterior mean.
        looked: number of nodes within its window.
        first, last: times of the first and last node at which it acted; NaN if it never did.
        strongest: the maximum size of its effect: for `safe` the weight times the strength; for displacing guidances the root
            mean square of the displacement over the D entries of a sample.
    """

    acted: Int[Array, " b"]
    looked: Int[Array, " b"]
    first: Float[Array, " b"]
    last: Float[Array, " b"]
    strongest: Float[Array, " b"]

    @staticmethod
    def empty(count: int) -> "Record":
        """The record of `count` samples before the first step."""
        none, never = jnp.zeros(count, jnp.int32), jnp.full(count, jnp.nan, jnp.float32)
        return Record(none, none, never, never, jnp.zeros(count, jnp.float32))

    def after(self, t: Float[Array, " b"], held: Bool[Array, " b"], size: Float[Array, " b"]) -> "Record":
        """The record after one more node, given whether it is in the window and the size of the effect, 0 for none."""
        acted = size > 0
        return Record(
            self.acted + acted,
            self.looked + held,
            jnp.where(acted & jnp.isnan(self.first), t, self.first).astype(jnp.float32),
            jnp.where(acted, t, self.last).astype(jnp.float32),
            jnp.maximum(self.strongest, size).astype(jnp.float32),
        )


class Recording(Stateful):
    """A guidance that records its effect: its memory is a pair of its own memory and the record."""

    @abstractmethod
    def begin(self, x: Array) -> tuple[Any, Record]:
        """Its own memory before the first step from x, and an empty record."""


def record(denoiser: Callable, memory: Any, count: int) -> Record | None:
    """The record of the first recording guidance of a nest for the first `count` samples; None if there is none.

    The order is that of `nest`: the outermost first.

    Arguments:
        denoiser: the nest.
        memory: the memory of the run, from `sample(..., return_memory=True)`.
        count: number of samples; outer guidances with several conditions stack copies after them.
    """
    if isinstance(denoiser, Recording):
        return Record(*(unstacked(leaf, len(leaf) // count)[0] for leaf in memory.own[1]))
    children = zip(denoiser.children, memory.children, strict=True) if isinstance(denoiser, Guidance) else ()
    found = (record(child, inside, count) for child, inside in children)
    return next((each for each in found if each is not None), None)
