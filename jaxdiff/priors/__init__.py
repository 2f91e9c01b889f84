"""Priors of bridges: what a sample begins with in place of noise.

A prior that is independent of x_0 makes an unconditional model: `normal`, `uniform`, `moments`, `gp`. A paired one is a
condition: `trend` is followed softly; `imputation`, `fixed`, `extremes` and `ohlc` hold exactly in every sample.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.priors.extremes import Extremes
from jaxdiff.priors.gaussian_process import GaussianProcess
from jaxdiff.priors.moments import Moments
from jaxdiff.priors.normal import Normal
from jaxdiff.priors.observed import FixedPoints, Imputation
from jaxdiff.priors.open_high_low_close import OpenHighLowClose
from jaxdiff.priors.prior import End, Paired, Prior
from jaxdiff.priors.trend import Trend
from jaxdiff.priors.uniform import Uniform

PRIORS: dict[str, type[Prior]] = {
    prior.name: prior
    for prior in (Normal, Uniform, Moments, GaussianProcess, Trend, FixedPoints, Extremes, OpenHighLowClose, Imputation)
}
"""Every prior by its name. Add your own class to use it by name."""


def from_config(config: Any, arrays: Mapping[str, np.ndarray]) -> Prior:
    """The prior described by `Prior.config` and `Prior.arrays`.

    Raises:
        InputError: the name is unknown, or settings or arrays do not match.
    """
    if not isinstance(config, dict):
        raise InputError(f"a prior is described by an object, got {shortened(config)}")
    settings = {key: value for key, value in config.items() if key not in ("name", "checksum")}
    name = config.get("name")
    if not isinstance(name, str) or name not in PRIORS:
        raise InputError(f"unknown prior {shortened(name)}; this version of jaxdiff knows {', '.join(PRIORS)}")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    given: dict[str, Any] = {"knowns": None} if issubclass(PRIORS[name], Paired) else {}
    given |= {key: jnp.asarray(array) for key, array in arrays.items()}
    try:
        made = PRIORS[name](**given, **settings)
    except TypeError as error:
        raise InputError(f"prior {name} does not take {shortened(sorted({*given, *settings}))}") from error
    if made.config() != config:
        raise InputError(f"the arrays of prior {name} do not match their checksum")
    return made


__all__ = [
    "PRIORS",
    "End",
    "Extremes",
    "FixedPoints",
    "GaussianProcess",
    "Imputation",
    "Moments",
    "Normal",
    "OpenHighLowClose",
    "Paired",
    "Prior",
    "Trend",
    "Uniform",
    "from_config",
]
