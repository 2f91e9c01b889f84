"""What a guidance did to each sample: whether, when and how strongly it acted."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.denoiser import Guidance, Remembering
from jaxdiff.parallel import unstacked


class Record(NamedTuple):
    """What the guidance did to each sample.

    Attributes:
        acted: nodes at which it moved the posterior mean.
        looked: nodes within its window.
        first, last: times of the first and last node at which it acted; NaN where it never did.
        strongest: the largest size of what it did, as the guidance defines that: of `safe` the weight, strength included; of
            one that displaces the posterior mean the root mean square of the displacement over the D entries of a sample.
    """

    acted: Int[Array, " b"]
    looked: Int[Array, " b"]
    first: Float[Array, " b"]
    last: Float[Array, " b"]
    strongest: Float[Array, " b"]

    @staticmethod
    def empty(count: int) -> "Record":
        """Of `count` samples to which nothing was done yet."""
        none, never = jnp.zeros(count, jnp.int32), jnp.full(count, jnp.nan, jnp.float32)
        return Record(none, none, never, never, jnp.zeros(count, jnp.float32))

    def after(self, t: Float[Array, " b"], held: Bool[Array, " b"], size: Float[Array, " b"]) -> "Record":
        """With one node more, at which the window held and what was done had this size, 0 for nothing."""
        acted = size > 0
        return Record(
            self.acted + acted,
            self.looked + held,
            jnp.where(acted & jnp.isnan(self.first), t, self.first).astype(jnp.float32),
            jnp.where(acted, t, self.last).astype(jnp.float32),
            jnp.maximum(self.strongest, size).astype(jnp.float32),
        )


class Recording(Remembering):
    """A guidance that keeps a record of what it does: its memory is a pair, what it needs itself and the record."""

    @abstractmethod
    def begin(self, x: Array) -> tuple[Any, Record]:
        """What it remembers before the first step from x, and an empty record."""


def record(denoiser: Callable, memory: Any, count: int) -> Record | None:
    """What a nest did to the first `count` samples, by its first guidance that keeps a record; None where none does.

    The first is the outermost, and of several children the first child's before the others'.

    Arguments:
        denoiser: the nest.
        memory: what the run remembered, of `sample(..., remembered=True)`.
        count: samples; guidances outside that ask for several conditions stack them with the samples' own first.
    """
    if isinstance(denoiser, Recording):
        return Record(*(unstacked(leaf, len(leaf) // count)[0] for leaf in memory.own[1]))
    children = zip(denoiser.children, memory.inside, strict=True) if isinstance(denoiser, Guidance) else ()
    found = (record(child, inside, count) for child, inside in children)
    return next((each for each in found if each is not None), None)
