"""Options of the solver."""

from dataclasses import dataclass

from jaxdiff._console.hosts import Hosts
from jaxdiff.bounds import NonNegative, Size
from jaxdiff.choices import SolverName, Spacing
from jaxdiff.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Solving(Hosts):
    """The solver, and where it runs: the options that all commands share which draw."""

    solver: SolverName | None = None
    """Solver; see the table above. By default unipc; dpm_solver_sde for bridges of time series whose network does not see
    x_T."""
    steps: Size = 20
    """Number of solver steps."""
    spacing: Spacing | None = None
    """How the time steps are spaced; by default the spacing usual for the solver."""
    eta: NonNegative = 0.0
    """ddim: noise level; 0 is deterministic, 1 is ancestral sampling."""
    churn: NonNegative = 0.0
    """heun: S_churn, the amount of noise added before each step."""

    def __post_init__(self):
        super().__post_init__()
        for option, taker in (("eta", "ddim"), ("churn", "heun")):
            if (value := getattr(self, option)) and self.solver != taker:
                raise InputError(f"--{option} is for --solver {taker}, got --{option} {value} with {self.solver_given}")

    @property
    def solver_given(self) -> str:
        """The solver, for messages."""
        return f"--solver {self.solver}" if self.solver else "the default solver"
