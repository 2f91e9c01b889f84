"""Noise phases: ranges of the signal-to-noise ratio (SNR) in which a diffusion model generates different features.

Above an SNR of 1 the model removes residual noise (clean-up), between 1 and 0.01 it generates content, below 0.01 the coarse
layout (Choi et al. 2022, section 3: boundaries 1 and 1e-2; others put the boundary between coarse and content at 1, so that
both are arguments wherever they are used).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff.choices import BOUNDARIES
from jaxdiff.process import Process


def phase(process: Process, t: Float[Array, " b"], boundaries: Sequence[float] = BOUNDARIES) -> Int[Array, " b"]:
    """The phase of each time, (B,): 0 clean-up, 1 content, 2 coarse."""
    log_snr = process.log_snr(t)
    return sum(((log_snr < float(np.log(snr))).astype(jnp.int32) for snr in boundaries), jnp.zeros(t.shape, jnp.int32))


def boundary_times(process: Process, boundaries: Sequence[float] = BOUNDARIES) -> tuple[float, ...]:
    """The times at which the SNR reaches each boundary."""
    return tuple(float(process.time(np.float32(np.log(snr)))) for snr in boundaries)
