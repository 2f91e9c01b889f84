"""The region of images in which a label shows, estimated from a conditional model alone."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Bool, Float, Float32, PRNGKeyArray

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.parallel import gather
from jaxdiff.process import Process

AT, SHARE, MARGIN = 0.3, 0.6, 1
"""Chosen on embedded faces, where at a share of 0.5 the mouth belongs to the region of `group` too."""


def label_map(
    denoise: Callable,
    process: Process,
    images: Float[Array, "b height width c"],
    conditions: Sequence[Any],
    *,
    key: PRNGKeyArray,
    at: float = AT,
) -> Float32[np.ndarray, "height width"]:
    """How much each pixel of the posterior mean changes with the label at a small noise, on average over images.

    Images are noised to the time `at`. The map is the root mean square, over images, channels and values c, of D_c(x_t) minus
    its mean over c. At a small noise what else an image shows is decided by x_t, and does not change with the label, although
    it goes with it in the data: what is left is where the label itself shows. At a large noise all of it is in the map.

    Arguments:
        denoise: a denoiser.
        process: the forward process.
        images: the data x_0, drawn without a label or real.
        conditions: the condition of each value, two or more, each with leading axis B.
        key: a key.
        at: the time in (0, 1].

    Raises:
        InputError: the time is out of range, or there are fewer than two values.
    """
    if not 0 < at <= 1:
        raise InputError(f"`at` must lie in (0, 1], got {at}")
    if len(conditions) < 2:
        raise InputError(f"`conditions` must hold those of two values or more, got {len(conditions)}")
    return np.asarray(gather(_label_map(as_denoiser(denoise), process, images, tuple(conditions), key, jnp.float32(at))))


@jax.jit
def _label_map(denoiser, process, images, conditions, key, at):
    times = jnp.broadcast_to(at, len(images))
    noised = process.noised(images, jax.random.normal(key, images.shape), times)
    means = jnp.stack([denoiser(noised, times, condition) for condition in conditions])
    return jnp.sqrt(jnp.square(means - means.mean(0)).mean((0, 1, 4)))


def label_region(
    found: Float[np.ndarray, "height width"], *, share: float = SHARE, margin: int = MARGIN
) -> Bool[np.ndarray, "height width"]:
    """The pixels in which a map of `label_map` is above a share of its maximum, and those around them.

    Arguments:
        found: the map, at least 0.
        share: the share of its maximum, in [0, 1).
        margin: how many pixels around them belong to the region too, at least 0.

    Raises:
        InputError: a number is out of range, or the map is 0: the model does not see the label.
    """
    if not 0 <= share < 1 or margin < 0:
        raise InputError(f"`share` must be in [0, 1) and `margin` at least 0, got {share} and {margin}")
    if not found.max() > 0:
        raise InputError("the map of the label is 0 everywhere: the model's means do not change with it")
    return scipy.ndimage.maximum_filter(found > share * found.max(), 2 * margin + 1)
