"""Adversarial purification by the model itself (DiffPure, Nie et al., ICML 2022), and the accuracy of what it defends.

An image is noised to a level at which the perturbation of an attacker is small against the noise, and denoised by the model.
A classifier of the purified image is attacked with gradients through the purifier, and evaluated under noise that the attacker
has not seen: without both, a random and deep defence only looks strong (Athalye et al., ICML 2018).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.probability_flow import indices_of, of_batch
from jaxdiff.process import Process
from jaxdiff.safety.attacks import maximise
from jaxdiff.safety.regions import Region
from jaxdiff.solvers import Init, Solver, sample
from jaxdiff.solvers.driver import Grid, Keys, begin, integrate, nodes, require_time, sample_keys


def purify(
    denoise: Callable,
    process: Process,
    x: Float[Array, "b ..."] | Float[np.ndarray, "b ..."],
    *,
    t: float,
    solver: Solver,
    key: Keys,
    condition: Any = None,
    indices: Any = None,
) -> Float[Array, "b ..."]:
    """Images noised to the time t and denoised by the model, from there.

    For data N(m, s²) and a solver of the probability flow with small steps, an image x becomes normal with mean
    m + s alpha (x - m) / r and standard deviation s sigma / r, r² = alpha² s² + sigma²: near t = 0 it hardly changes, and at
    t = 1 it is a new sample.

    Arguments:
        denoise, process, solver: see `sample`.
        x: data (B, ...), in the scale of the process.
        t: the level, in (0, 1]; the paper uses t = 0.1 of Song et al.'s VP process for CIFAR-10 with perturbations up to 8/255.
        key: a key, or one for each image; image i is a function of (key, indices[i]) alone.
        condition: the condition, with leading axis B.
        indices: (B,) integers, by default 0 .. B - 1.

    Raises:
        InputError: t is outside (0, 1], or see `sample`.
    """
    require_time("t", t)
    indices = indices_of(indices, len(x))
    noised = _noised(process, jnp.asarray(x), sample_keys(key, indices), t)
    return sample(
        denoise, process, shape=noised.shape[1:], solver=solver, key=key, condition=condition, indices=indices,
        init=Init(noised, t),
    )  # fmt: skip


@jax.jit
def _noised(process, x, keys, t):
    # the key of the prior's draw, which a run from a given state does not use
    noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), x.shape[1:], x.dtype))(keys)
    return process.noised(x, noise, jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1]))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Purifier:
    """Purification as a function of images and keys, for use inside of a program. Create one with `purifier`."""

    denoiser: Callable
    process: Process
    times: Float[Array, " s"]
    restarts: Bool[Array, " s"]
    first: Int[Array, ""]
    t: Float[Array, ""]
    condition: Any
    solver: Solver = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b ..."], keys: Array) -> Float[Array, "b ..."]:
        """The purified images (B, ...), by the key of each (B,)."""
        across = lambda row: jnp.broadcast_to(row[:, None], (len(row), len(x)))  # noqa: E731
        grid = Grid(across(self.times), across(self.restarts))
        state = begin(self.denoiser, self.solver, _noised(self.process, x, keys, self.t))
        condition = jax.tree.map(lambda row: jnp.broadcast_to(row, (len(x), *row.shape)), self.condition)
        run = partial(integrate, self.denoiser, self.process, self.solver, grid, state, keys, condition)
        return run(first_step=self.first, remat=True).x


def purifier(denoise: Callable, process: Process, *, t: float, solver: Solver, condition: Any = None) -> Purifier:
    """See `purify`; for denoisers whose breakpoints are the same for all images.

    Arguments:
        denoise, process, t, solver: see `purify`.
        condition: one row of the condition, without a batch axis.

    Raises:
        InputError: t is outside (0, 1], or the solver cannot run on this process.
    """
    require_time("t", t)
    solver.check(process)
    denoiser = as_denoiser(denoise)
    grid, start = nodes(denoiser, process, solver, 1, t)
    first = jnp.asarray(0 if start is None else start.first, jnp.int32)
    condition = jax.tree.map(jnp.asarray, condition)
    return Purifier(
        denoiser, process, grid.times[:, 0], grid.restarts[:, 0], first, jnp.asarray(t, jnp.float32), condition, solver
    )


@dataclass(frozen=True)
class Robustness:
    """The accuracy of a classifier before and after an attack, with and without purification.

    Attributes:
        clean: the share of `draws` purifications in which each image is classified as labelled, (B,).
        attacked: the same of the attacked images, under the same fresh noise, (B,).
        images: the attacked images (B, ...).
        runs: the runs of the chain that the attack used for each image, see `Attacked.runs`.
    """

    clean: Float[np.ndarray, " b"]
    attacked: Float[np.ndarray, " b"]
    images: np.ndarray
    runs: int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Margin:
    """How far a classifier of purified images is from the label: the largest other logit minus that of the label."""

    logits: Callable
    purifier: Purifier | None
    labels: Int[Array, " b"]
    keys: Array
    draws: int = field(metadata={"static": True})

    def __call__(self, number: Any, x: Array) -> tuple[Array, Array]:
        """The mean margin over `draws` purifications with the noise of this number, and the images."""
        each = [self.margins(x, number * self.draws + draw) for draw in range(self.draws)]
        return jnp.stack(each).mean(0), x

    def margins(self, x: Array, number: Any) -> Float[Array, " b"]:
        """The margin after one purification, with the noise of this number."""
        if self.purifier is not None:
            x = self.purifier(x, jax.vmap(lambda key: jax.random.fold_in(key, number))(self.keys))
        logits = self.logits(x)
        own = jax.nn.one_hot(self.labels, logits.shape[1], dtype=bool)
        return jnp.where(own, -jnp.inf, logits).max(1) - jnp.where(own, logits, 0.0).sum(1)


def robustness(
    logits: Callable,
    images: Float[Array, "b ..."] | Float[np.ndarray, "b ..."],
    labels: Int[Array, " rows"] | Int[np.ndarray, " rows"],
    *,
    region: Region,
    budget: int,
    key: Keys,
    purifier: Purifier | None = None,
    search: str = "gradient",
    draws: int = 1,
    fresh: int = 8,
    indices: Any = None,
) -> Robustness:
    """The accuracy of a classifier of purified images under an attack through the purifier.

    The attack maximises the margin by which another value wins, with gradients through every step of the purifier and new noise
    in every evaluation (expectation over transformation, Athalye et al. 2018), averaged over `draws`. Both the images and
    the attacked images are then classified under `fresh` purifications with other noise, the same for both.

    Arguments:
        logits: images (B, ...) to logits (B, K); a pytree that is called, or a function, differentiable.
        images: in the data's scale.
        labels: integers in 0 .. K - 1.
        region: of the attacked image around the image, e.g. `box(8 / 127.5)`.
        budget: the most runs for each image, see `maximise`; a run with `draws` purifications counts `draws` times.
        key: of the noise of the attack and of the evaluation after it.
        purifier: None attacks the classifier itself.
        search: `gradient` (PGD) or `random`.
        draws, fresh: purifications in an evaluation, and after it, each at least 1.
        indices: (B,) integers, by default 0 .. B - 1.

    Raises:
        InputError: `draws` or `fresh` is below 1, the labels have another length, or see `maximise`.
    """
    if draws < 1 or fresh < 1:
        raise InputError(f"`draws` and `fresh` must be at least 1, got {draws} and {fresh}")
    x, labels = jnp.asarray(images), of_batch(labels, len(images), "labels")
    keys = sample_keys(key, indices_of(indices, len(x)))
    attack, after = (jax.vmap(lambda key, part=part: jax.random.fold_in(key, part))(keys) for part in (0, 1))
    margin = _Margin(as_denoiser(logits), purifier, labels, attack, draws)
    found = maximise(margin, (x,), (region,), budget=budget // draws, search=search, keys=keys)
    return Robustness(
        _correct(margin, x, after, fresh=fresh),
        _correct(margin, jnp.asarray(found.points[0]), after, fresh=fresh),
        found.points[0],
        int(found.runs[-1]) * draws,
    )


def _correct(margin: _Margin, x: Array, keys: Array, *, fresh: int) -> Float[np.ndarray, " b"]:
    """The share of `fresh` purifications in which each image is classified as labelled."""
    times = 1 if margin.purifier is None else fresh
    return np.mean([np.asarray(_margins(margin, x, keys, number)) < 0 for number in range(times)], axis=0)


@jax.jit
def _margins(margin, x, keys, number):
    return _Margin(margin.logits, margin.purifier, margin.labels, keys, margin.draws).margins(x, number)
