"""Forward processes: how data are turned into noise, or into samples of another prior."""

from jaxdiff.choices import PREDICTIONS, Prediction
from jaxdiff.process.gaussian import (
    DDPM_BETAS,
    MOST_TIMESTEPS,
    PROCESSES,
    GaussianProcess,
    ddpm,
    ddpm_betas,
    edm,
    flow,
    from_config,
    sub_vp,
    ve,
    vp_cosine,
    vp_linear,
)
from jaxdiff.process.protocol import SIGMA_DATA, Process, expand
from jaxdiff.process.schedules import EARLIEST

__all__ = [
    "DDPM_BETAS",
    "EARLIEST",
    "MOST_TIMESTEPS",
    "PREDICTIONS",
    "PROCESSES",
    "SIGMA_DATA",
    "GaussianProcess",
    "Prediction",
    "Process",
    "ddpm",
    "ddpm_betas",
    "edm",
    "expand",
    "flow",
    "from_config",
    "sub_vp",
    "ve",
    "vp_cosine",
    "vp_linear",
]
