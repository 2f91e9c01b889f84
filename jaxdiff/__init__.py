"""jaxdiff: score-based diffusion models in JAX, sampled fairly and safely without retraining."""

from jaxdiff import editing, fairness, guidance, interop, probability_flow
from jaxdiff.classifier import Classifier, load_classifier
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.solvers import DDIM, DDPM, DPMSolver, DPMSolverSDE, EulerMaruyama, Heun, PredictorCorrector, UniPC, sample

__version__ = "0.1.0"

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
    "editing",
    "fairness",
    "guidance",
    "interop",
    "load",
    "load_classifier",
    "probability_flow",
    "sample",
]
