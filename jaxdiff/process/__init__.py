"""Forward processes: how data are turned into noise, or into samples of another prior."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.choices import PREDICTIONS, Prediction
from jaxdiff.process import bridge, gaussian
from jaxdiff.process.bridge import BRIDGES, Bridge, bridge_ve, bridge_vp
from jaxdiff.process.gaussian import (
    DDPM_BETAS,
    MOST_TIMESTEPS,
    PROCESSES,
    GaussianProcess,
    ddpm,
    ddpm_betas,
    edm,
    flow,
    sub_vp,
    ve,
    vp_cosine,
    vp_linear,
)
from jaxdiff.process.protocol import SIGMA_DATA, Process, expand
from jaxdiff.process.schedules import EARLIEST


def from_config(config: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Process:
    """The process described by `Process.config`, or by a name alone: `from_config({"name": "vp_cosine"})`.

    Arguments:
        config: the description.
        arrays: the arrays of a bridge's prior by name, see `jaxdiff.priors.Prior.arrays`.

    Raises:
        InputError: the name or a setting is unknown, or of another type or range.
    """
    if isinstance(config, dict) and config.get("name") in tuple(BRIDGES):
        return bridge.from_config(config, arrays or {})
    return gaussian.from_config(config)


__all__ = [
    "BRIDGES",
    "DDPM_BETAS",
    "EARLIEST",
    "MOST_TIMESTEPS",
    "PREDICTIONS",
    "PROCESSES",
    "SIGMA_DATA",
    "Bridge",
    "GaussianProcess",
    "Prediction",
    "Process",
    "bridge_ve",
    "bridge_vp",
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
