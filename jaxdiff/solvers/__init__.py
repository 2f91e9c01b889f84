"""Solvers: frozen dataclasses with a pure step, and the one driver that runs them."""

from jaxdiff.solvers.base import Solver
from jaxdiff.solvers.ddim import DDIM, DDPM
from jaxdiff.solvers.driver import Init, sample
from jaxdiff.solvers.heun import Heun, HybridHeun
from jaxdiff.solvers.multistep import DPMSolver, DPMSolverSDE, UniPC
from jaxdiff.solvers.sde import EulerMaruyama, PredictorCorrector

SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver
    for solver in (DDIM, DDPM, Heun, HybridHeun, DPMSolver, DPMSolverSDE, UniPC, EulerMaruyama, PredictorCorrector)
}
"""Every solver by its name."""

__all__ = [
    "DDIM",
    "DDPM",
    "SOLVERS",
    "DPMSolver",
    "DPMSolverSDE",
    "EulerMaruyama",
    "Heun",
    "HybridHeun",
    "Init",
    "PredictorCorrector",
    "Solver",
    "UniPC",
    "sample",
]
