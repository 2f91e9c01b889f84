"""jaxdiff: score-based diffusion models in JAX, sampled fairly and safely without retraining."""

from importlib import metadata

from jaxdiff import fairness, guidance
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.solvers import DDIM, sample

__version__ = metadata.version("jaxdiff")

__all__ = ["DDIM", "InputError", "Model", "fairness", "guidance", "load", "sample"]
