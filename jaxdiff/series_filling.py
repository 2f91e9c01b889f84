"""Draws of the missing values of windows of time series, from a model of imputation."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Int32, UInt32

from jaxdiff import parallel
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.priors import Imputation
from jaxdiff.process import Bridge
from jaxdiff.solvers import Solver, sample
from jaxdiff.spaces import Series


def require_imputation(model: Model, name: str) -> Series:
    """The space of a model that fills missing values.

    Arguments:
        model: the model.
        name: what errors call it.

    Raises:
        InputError: it is no model of series, or no bridge with the prior `imputation`.
    """
    remedy = "train one with `jaxdiff train series --data TABLE --prior imputation --out RUN`"
    if not isinstance(model.space, Series):
        raise InputError(f"{name} is a model of {model.space.array}; missing values are filled by a model of series: {remedy}")
    prior = model.process.prior_of_end if isinstance(model.process, Bridge) else None
    if not isinstance(prior, Imputation):
        of = f"is a diffusion model ({model.process.name})" if prior is None else f"has the prior {prior.name}"
        raise InputError(f"{name} {of}; missing values are filled by a bridge with the prior imputation: {remedy}")
    return model.space


@dataclass(frozen=True)
class Filler:
    """Draws the missing values of windows.

    The number of a draw, its stream and the seed determine its noise, so that it does not depend on the batch, up to rounding.

    Attributes:
        model: a model of `require_imputation`.
        solver: the solver.
        mesh: the devices.
        batch: windows at once over all devices, a multiple of their number.
        seed: of the noise.
    """

    model: Model
    solver: Solver
    mesh: Mesh
    batch: int
    seed: int = 0

    @property
    def prior(self) -> Imputation:
        """The prior of the model."""
        process = self.model.process
        assert isinstance(process, Bridge) and isinstance(process.prior_of_end, Imputation)
        return process.prior_of_end

    def draw(
        self,
        windows: Float[np.ndarray, "n length f"],
        lines: Float[np.ndarray, "n length f"],
        labels: Int32[np.ndarray, "n a"],
        streams: Int[np.ndarray, "n 2"],
        numbers: Int[np.ndarray, " n"],
        advance: Callable[[int], None] = lambda count: None,
    ) -> Float[np.ndarray, "n length f"]:
        """One draw of each window, in the units of the table; observed values are kept up to rounding to float32.

        Every process calls it, with the same arguments, and gets all draws.

        Arguments:
            windows: NaN where a value is missing.
            lines: where a bridge ends in a column of which a window has no observed value; NaN for the middle of the range.
            labels: of the attributes of the model, -1 for none; A may be 0.
            streams: two numbers for each draw from 0 to 2^32 - 1, such as the position of its window.
            numbers: the number of the draw of its window.
            advance: called with the number of windows drawn, after each batch.

        Raises:
            InputError: a draw is not finite.
        """
        encode, known = self.model.space.encode, ~np.isnan(windows)
        rows = (
            np.where(known, encode(np.where(known, windows, 0.0)), 0).astype(np.float32),
            known,
            np.nan_to_num(encode(lines), nan=0.0),
            streams.astype(np.uint32),
            numbers.astype(np.int32),
            labels,
        )
        drawn = np.empty(windows.shape)
        for start in range(0, len(windows), self.batch):
            chosen = np.minimum(np.arange(start, start + self.batch), len(windows) - 1)  # one program for all batches
            found = self._batch(*(each[chosen] for each in rows))
            stop = min(start + self.batch, len(windows))
            if not np.isfinite(found[: stop - start]).all():
                raise InputError("the model returned NaN or infinity: its training may have diverged")
            drawn[start:stop] = self.model.space.decode(found[: stop - start])
            advance(stop - start)
        return drawn

    def _batch(self, values, known, lines, streams, numbers, labels) -> Float[np.ndarray, "n length f"]:
        own = parallel.process_rows(self.mesh, self.batch)
        encoded = jax.tree.map(np.asarray, self.model.conditions.encode(labels).labels)
        given = jax.tree.map(lambda each: each[own], (values, known, lines, streams, numbers, encoded))
        with jax.set_mesh(self.mesh):
            values, known, lines, streams, numbers, encoded = parallel.shard_rows(self.mesh, given)
            keys = _keys(jax.random.key(self.seed), streams)
            condition = _condition(self.prior, values, known, lines)._replace(labels=encoded)
            x = sample(
                self.model.denoise, self.model.process, shape=self.model.shape, solver=self.solver, key=keys,
                condition=condition, indices=numbers,
            )  # fmt: skip
            return parallel.gather(x)


@jax.jit
def _keys(key: Array, streams: UInt32[Array, "b 2"]) -> Array:
    fold = jax.vmap(jax.random.fold_in, (None, 0)), jax.vmap(jax.random.fold_in)
    return fold[1](fold[0](key, streams[:, 0]), streams[:, 1])


@jax.jit
def _condition(
    prior: Imputation, values: Float[Array, "b l f"], known: Bool[Array, "b l f"], lines: Float[Array, "b l f"]
) -> BridgeCondition:
    """The condition of the observed values of each window: its x_T is that of the prior, and in a column without an observed
    value the line."""
    end = jax.vmap(prior.given)(values, known).end
    return BridgeCondition(jnp.where(known.any(1, keepdims=True), end, lines), known)
