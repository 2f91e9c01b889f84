"""jaxdiff: score-based diffusion models in JAX, sampled fairly and safely without retraining.

Importing it imports none of its modules, and so neither JAX nor Flax: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily
from jaxdiff._version import __version__

if TYPE_CHECKING:
    from jaxdiff import editing, fairness, guidance, inpainting, interop, probability_flow
    from jaxdiff.classifier import NoisedClassifier, load_classifier
    from jaxdiff.errors import InputError
    from jaxdiff.loading import load
    from jaxdiff.model import Model
    from jaxdiff.solvers import (
        DDIM,
        DDPM,
        DPMSolver,
        DPMSolverSDE,
        EulerMaruyama,
        Heun,
        HybridHeun,
        PredictorCorrector,
        UniPC,
        sample,
    )

__all__ = [
    "DDIM",
    "DDPM",
    "DPMSolver",
    "DPMSolverSDE",
    "EulerMaruyama",
    "Heun",
    "HybridHeun",
    "InputError",
    "Model",
    "NoisedClassifier",
    "PredictorCorrector",
    "UniPC",
    "__version__",
    "editing",
    "fairness",
    "guidance",
    "inpainting",
    "interop",
    "load",
    "load_classifier",
    "probability_flow",
    "sample",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "": ("editing", "fairness", "guidance", "inpainting", "interop", "probability_flow"),
        "classifier": ("NoisedClassifier", "load_classifier"),
        "errors": ("InputError",),
        "loading": ("load",),
        "model": ("Model",),
        "solvers": (
            "DDIM", "DDPM", "DPMSolver", "DPMSolverSDE", "EulerMaruyama", "Heun", "HybridHeun", "PredictorCorrector", "UniPC",
            "sample",
        ),
    },
)  # fmt: skip
