"""The phases of noise: what an image still tells at a time.

Above an SNR of 1 the model cleans up what is there, between 1 and 0.01 it makes the content, below it chooses the coarse
layout (Choi et al. 2022, section 3: boundaries 1 and 1e-2; others draw the line between coarse and content at 1, so both are
arguments wherever they are used).
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
    """The times at which the SNR falls below each boundary."""
    return tuple(float(process.time(np.float32(np.log(snr)))) for snr in boundaries)
