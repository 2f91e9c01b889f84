"""jaxdiff: score-based diffusion models in JAX, sampled fairly and safely without retraining."""

from jaxdiff import editing, fairness, guidance, interop, probability_flow
from jaxdiff._version import __version__
from jaxdiff.classifier import Classifier, load_classifier
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.solvers import DDIM, DDPM, DPMSolver, DPMSolverSDE, EulerMaruyama, Heun, PredictorCorrector, UniPC, sample

__all__ = [
    "DDIM",
    "DDPM",
    "Classifier",
    "DPMSolver",
    "DPMSolverSDE",
    "EulerMaruyama",
    "Heun",
    "InputError",
    "Model",
    "PredictorCorrector",
    "UniPC",
    "__version__",
    "editing",
    "fairness",
    "guidance",
    "interop",
    "load",
    "load_classifier",
    "probability_flow",
    "sample",
]
