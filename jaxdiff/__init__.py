"""jaxdiff: score-based diffusion models in JAX, sampled fairly and safely without retraining.

Importing it imports none of its modules, and so neither JAX nor Flax: each name below is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxdiff._version import __version__

if TYPE_CHECKING:
    from jaxdiff import editing, fairness, guidance, interop, probability_flow
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

# where each name that is no module comes from
_MODULES = {
    "Classifier": "classifier",
    "DDIM": "solvers",
    "DDPM": "solvers",
    "DPMSolver": "solvers",
    "DPMSolverSDE": "solvers",
    "EulerMaruyama": "solvers",
    "Heun": "solvers",
    "InputError": "errors",
    "Model": "model",
    "PredictorCorrector": "solvers",
    "UniPC": "solvers",
    "load": "model",
    "load_classifier": "classifier",
    "sample": "solvers",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module := _MODULES.get(name):
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return value
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
