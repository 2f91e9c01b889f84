"""DiffEdit (Couairon et al. 2022): images edited from one condition to another only where the two disagree.

The baseline "Editing" of the fairness table, on models that take a label. Its three parts are public: `edit_mask` finds the
mask, `probability_flow.encode` maps to noise, and `probability_flow.decode` with `guidance.masked` decodes under the new
condition.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxdiff import probability_flow
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.masked import masked
from jaxdiff.probability_flow import indices_of, of_batch
from jaxdiff.process import Process, expand
from jaxdiff.solvers import Solver
from jaxdiff.solvers.driver import Keys, sample_keys, steps_from

DRAWS, AT, CLAMP, THRESHOLD, STRENGTH = 10, 0.5, 3.0, 0.5, 0.8
"""The defaults of the diffusers library."""


class Edit(NamedTuple):
    """What `edit` returns.

    Attributes:
        images: the edited images (B, ..., C); outside of the masks they are the originals, bit for bit.
        masks: where they were edited, (B, ..., 1).
    """

    images: Float[Array, "b ..."]
    masks: Bool[Array, "b ..."]


def edit_mask(
    denoise: Callable,
    process: Process,
    images: Float[Array, "b *pixels c"],
    source: Any,
    target: Any,
    *,
    key: Keys,
    draws: int = DRAWS,
    at: float = AT,
    clamp: float = CLAMP,
    threshold: float = THRESHOLD,
    indices: Any = None,
) -> Bool[Array, "b *pixels 1"]:
    """Where two conditions disagree about an image (Couairon et al. 2022, section 3.2, step 1).

    d = mean over draws and channels of |eps(z, target) - eps(z, source)|, with z the image noised to the time `at`; the
    mask is clip(d, 0, clamp mean(d)) / (clamp mean(d)) > threshold, the mean over the image's own pixels. So it is
    the set d > clamp threshold mean(d), empty if the conditions are equal. Only the product clamp threshold matters.

    Each draw costs two evaluations, done as one on twice the batch. Image i's mask is a function of (key, indices[i],
    denoiser, images[i], source[i], target[i]) alone; its noise differs from all that `sample` draws with the same key.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        images: the data, channels last, with at least one axis of pixels.
        source: the condition of the images, a pytree of arrays with leading axis B.
        target: the new condition, of the same structure.
        key: a key, or one for each sample (B,).
        draws: noise draws per image, at least 1.
        at: the time in (0, 1] to which to noise.
        clamp: the multiple of the mean at which d is clipped, above 0.
        threshold: the fraction of that above which a pixel is edited, in [0, 1).
        indices: (B,) integers, by default 0 .. B - 1.

    Raises:
        InputError: a number is out of range, the images have no pixel axes, or conditions or indices have another batch size.
    """
    source, target = _checked(images, source, target, draws, at, clamp, threshold)
    keys = sample_keys(key, indices_of(indices, len(images)))
    level = jnp.float32(clamp * threshold)
    return _edit_mask(as_denoiser(denoise), process, images, source, target, keys, jnp.float32(at), level, draws=draws)


@partial(jax.jit, static_argnames="draws")
def _edit_mask(denoiser, process, images, source, target, keys, at, level, *, draws):
    both = jax.tree.map(lambda s, t: jnp.stack([s, t]), source, target)
    times = jnp.broadcast_to(at, len(images))

    def add(total, draw):
        one = lambda key: jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 0), draw + 1), images.shape[1:])  # noqa: E731
        noised = process.noised(images, jax.vmap(one)(keys), times)
        before, after = jax.vmap(lambda condition: denoiser(noised, times, condition))(both)
        # in x0: differences of eps are proportional at one time, and the factor cancels in the ratio to the mean
        return total + jnp.abs(after - before).mean(-1, keepdims=True), None

    total, _ = jax.lax.scan(add, jnp.zeros((*images.shape[:-1], 1)), jnp.arange(draws))
    # equal rows of a batch may be rounded differently, so equal conditions are masked explicitly
    pairs = zip(*map(jax.tree.leaves, (source, target)), strict=True)
    differs = jnp.stack([jnp.any((s != t).reshape(len(s), -1), axis=1) for s, t in pairs]).any(0)
    above = total > level * total.mean(axis=range(1, total.ndim), keepdims=True)
    return above & expand(differs, total)


def edit(
    denoise: Callable,
    process: Process,
    images: Float[Array, "b *pixels c"],
    *,
    source: Any,
    target: Any,
    solver: Solver,
    key: Keys,
    strength: float = STRENGTH,
    draws: int = DRAWS,
    at: float = AT,
    clamp: float = CLAMP,
    threshold: float = THRESHOLD,
    indices: Any = None,
) -> Edit:
    """Edits images from the condition `source` to `target`: mask, encode under `source`, decode under `target` in the mask.

    It stores all states of the encoding, steps times the batch, and costs `edit_evaluations` per image. To guide only the
    decoding, combine the three parts yourself, as this function does.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        images: the data, channels last, with at least one axis of pixels.
        source: the condition of the images, a pytree of arrays with leading axis B.
        target: the new condition, of the same structure.
        solver: a deterministic `DDIM` or `Heun`.
        key: a key, or one for each sample (B,), for the mask.
        strength: the time in (0, 1] to encode to; a larger one changes more. See `solvers.Init`.
        draws, at, clamp, threshold, indices: see `edit_mask`.

    Raises:
        InputError: see `edit_mask` and `probability_flow.encode`.
    """
    source, target = _checked(images, source, target, draws, at, clamp, threshold)
    indices = indices_of(indices, len(images))
    path = probability_flow.encode(denoise, process, images, solver=solver, condition=source, strength=strength, path=True)
    mask = edit_mask(
        denoise, process, images, source, target,
        key=key, draws=draws, at=at, clamp=clamp, threshold=threshold, indices=indices,
    )  # fmt: skip
    guided = masked(denoise, process, mask, images, path)
    latent = path.states[-1]
    decoded = probability_flow.decode(guided, process, latent, solver=solver, condition=target, strength=strength)
    # a solver that ends at a timestep does not end on the posterior mean, which is the original there
    return Edit(jnp.where(mask, decoded, images), mask)


def edit_evaluations(process: Process, solver: Solver, *, strength: float = STRENGTH, draws: int = DRAWS) -> int:
    """Evaluations of the denoiser per image of `edit`: two per draw, and the steps of encoding and decoding.

    Arguments:
        process: the forward process.
        solver: the solver.
        strength: see `edit`.
        draws: see `edit`.
    """
    steps = steps_from(process, solver, strength)
    # no encoding step ends at t = 0, so each costs as much as a first step
    up = solver.evaluations - solver.evaluations_after(steps)
    return 2 * draws + up + solver.evaluations_after(solver.steps - steps)


def _checked(images, source, target, draws, at, clamp, threshold):
    """Both conditions as arrays."""
    if images.ndim < 3:
        raise InputError(f"`images` must have axes of samples, pixels and channels, got shape {images.shape}")
    if draws < 1:
        raise InputError(f"`draws` must be at least 1, got {draws}")
    if not 0 < at <= 1:
        raise InputError(f"`at` must lie in (0, 1], got {at}")
    if not clamp > 0 or not 0 <= threshold < 1:
        raise InputError(f"`clamp` must be above 0 and `threshold` in [0, 1), got {clamp} and {threshold}")
    source, target = of_batch(source, len(images), "source"), of_batch(target, len(images), "target")
    forms = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) for each in (source, target)]
    if forms[0] != forms[1] or not jax.tree.leaves(source):
        raise InputError(f"`source` and `target` must be conditions of the same structure, got {forms[0]} and {forms[1]}")
    return source, target
