"""Solvers: frozen dataclasses with a pure step, and the one driver that runs them."""

from jaxdiff.solvers.ddim import DDIM
from jaxdiff.solvers.driver import sample

__all__ = ["DDIM", "sample"]
