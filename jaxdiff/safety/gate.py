"""How often the gate of a safe denoiser opens for images that are safe."""

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

    Of safe images it is the gate's false-positive rate, of unsafe ones its sensitivity. The images themselves stand for the
    posterior means that a sampler would have, which the kernel on the posterior mean alone looks at.

    Arguments:
        guidance: a safe denoiser with references, whose weight remembers nothing.
        images: in the data's scale, at least one.
        times: S times in (0, 1].
        key: of the noise.
        batch: images at once.

    Raises:
        InputError: no images, no times, or a guidance that asks the network or tracks a path.
    """
    if not len(images) or not len(times):
        raise InputError(f"`images` and `times` must be at least one each, got {len(images)} and {len(times)}")
    if guidance.unsafe is None or guidance.weight.begin(jnp.zeros((1, *images.shape[1:]))) != ():
        raise InputError("`guidance` must have unsafe references and a weight that remembers nothing")

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
