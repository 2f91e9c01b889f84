"""Inpainting: a part of images drawn again under another condition, with the rest as it is."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.masked import masked
from jaxdiff.probability_flow import indices_of, of_batch
from jaxdiff.process import Process
from jaxdiff.solvers import Solver
from jaxdiff.solvers.driver import Init, Keys, require_time, sample, sample_keys

STRENGTH = 0.8


def inpaint(
    denoise: Callable,
    process: Process,
    images: Float[Array, "b ..."],
    mask: Bool[Array, "..."] | Bool[np.ndarray, "..."],
    *,
    condition: Any,
    solver: Solver,
    key: Keys,
    strength: float = STRENGTH,
    indices: Any = None,
) -> Float[Array, "b ..."]:
    """Draws the part of images in a mask again, under a condition; the rest is as it was, bit for bit.

    Images are noised to the time `strength`, and sampled from there. Wherever the denoiser is evaluated, the rest is
    alpha x_0 + sigma eps of the image, with one eps for all times: the replacement method (Song et al. 2021, appendix I.2),
    without the resampling of RePaint. It is exact where, given x_t in the mask, the rest at the same noise says as much about
    what is in the mask as the rest itself does; elsewhere what is decided at a large noise may not fit.

    It costs `evaluations(denoise, process, solver, t=strength)` of `jaxdiff.solvers.driver` per image. Image i is a function of
    (key, indices[i], denoiser, images[i], mask, condition[i]) alone; give a key that has not drawn the images.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        images: the data x_0.
        mask: (1 or B, ...) what is drawn again; axes of length 1 broadcast against the data, e.g. (1, H, W, 1).
        condition: the condition, a pytree of arrays with leading axis B.
        solver: any solver.
        key: a key, or one for each image (B,).
        strength: the time in (0, 1] to which images are noised; at a smaller one more of what is in the mask remains.
        indices: (B,) integers, by default 0 .. B - 1.

    Raises:
        InputError: the strength is out of range, the mask has another shape, or condition or indices another batch size.
    """
    shape = images.shape
    if mask.ndim != len(shape) or not all(m in (1, n) for m, n in zip(mask.shape, shape, strict=True)):
        raise InputError(f"`mask` must broadcast to `images` of shape {shape}, got shape {mask.shape}")
    condition, indices = of_batch(condition, len(images), "condition"), indices_of(indices, len(images))
    require_time("strength", strength)
    # the key of the prior's noise, which is not drawn here
    eps = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), shape[1:]))(sample_keys(key, indices))
    whole = jnp.broadcast_to(jnp.asarray(mask), (len(images), *mask.shape[1:]))
    guided = masked(as_denoiser(denoise), process, whole, images, eps)
    start = process.noised(images, eps, jnp.full(len(images), strength, jnp.float32))
    drawn = sample(
        guided, process, shape=shape[1:], solver=solver, key=key, condition=condition, indices=indices,
        init=Init(start, strength),
    )  # fmt: skip
    return jnp.where(mask, drawn, images)
