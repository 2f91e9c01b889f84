"""How often the gate of a safe denoiser opens."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.guidance.safe import Safe


def gate_rates(
    guidance: Safe, images: Float[np.ndarray, "n ..."], times: Float[np.ndarray, " s"], *, key: Array, batch: int = 256
) -> Float[np.ndarray, " s"]:
    """The share of noised images at which a safe denoiser acts, at each time.

    For safe images it is the false-positive rate of the gate, for unsafe ones its sensitivity. The images are used in place of
    the posterior means of a sampler, which only the kernel on the posterior mean depends on.

    Arguments:
        guidance: a safe denoiser with references, whose weight has no memory.
        images: (N, ...) in the data's scale, at least one.
        times: S times in (0, 1].
        key: of the noise.
        batch: images a batch.

    Returns:
        Shares in [0, 1] (S,).

    Raises:
        InputError: no images, no times, or a guidance without references or with memory.
    """
    if not len(images) or not len(times):
        raise InputError(f"`images` and `times` must be at least one each, got {len(images)} and {len(times)}")
    if guidance.unsafe is None or guidance.weight.begin(jnp.zeros((1, *images.shape[1:]))) != ():
        raise InputError("`guidance` must have unsafe references and a weight without memory")

    @jax.jit
    def acted(guidance, images, t, key):
        x = guidance.process.noised(images, jax.random.normal(key, images.shape), t)
        known = replace(guidance, denoiser=lambda x, t, condition: images)
        (_, (_, record)) = known.guide(known.denoiser, x, t, None, known.begin(x))
        return record.acted

    def share(t, key):
        starts = range(0, len(images), batch)
        parts = [
            acted(guidance, jnp.asarray(images[start : start + batch]), jnp.float32(t), jax.random.fold_in(key, start))
            for start in starts
        ]
        return float(np.concatenate(parts).mean())

    return np.array([share(t, jax.random.fold_in(key, i)) for i, t in enumerate(times)])
