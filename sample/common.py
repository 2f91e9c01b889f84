"""What searching and drawing share: the model, the solver, the pair of conditions, and the context that tau is tied to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff import guidance
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import SOLVERS, Solver
from jaxdiff.solvers.grid import SPACINGS


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a model is sampled: the options that a search and a drawing share."""

    solver: Literal[
        "ddim", "ddpm", "heun", "dpm_solver", "dpm_solver_sde", "unipc", "euler_maruyama", "predictor_corrector"
    ] = "unipc"
    """The solver; the table above says what each is for, the README what each measured."""
    steps: int = 20
    """Steps of the solver."""
    spacing: Literal["uniform", "log_snr", "karras", "leading", "trailing", "linspace"] | None = None
    """How its nodes lie; by default as suits the solver."""
    eta: float = 0.0
    """ddim: 0 is deterministic, 1 is ancestral sampling."""
    churn: float = 0.0
    """heun: S_churn, noise added before each step."""
    guidance_scale: float = 1.0
    """Scale of classifier-free guidance."""

    def make_solver(self) -> Solver:
        """The solver. Raises `InputError` for options out of range, or that this solver does not take."""
        if self.guidance_scale < 0:
            raise InputError(f"--guidance-scale must be at least 0, got {self.guidance_scale}")
        given = {"spacing": self.spacing} if self.spacing else {}
        for name, taker in (("eta", "ddim"), ("churn", "heun")):
            value = getattr(self, name)
            if value and self.solver != taker:
                raise InputError(f"--{name} is for --solver {taker}, got --{name} {value} with --solver {self.solver}")
            given |= {name: value} if self.solver == taker else {}
        return SOLVERS[self.solver](self.steps, **given)


def solver_table() -> str:
    """The solvers and spacings as a table for `--help`."""
    lines = ["Solvers (order; evaluations of the network in S steps):"]
    for name, solver in SOLVERS.items():
        one, two = solver(10).evaluations, solver(11).evaluations
        cost = f"{two - one} S".removeprefix("1 ") + (f" - {10 * (two - one) - one}" if one % 10 else "")
        noise = ", with noise" if solver(10).stochastic else ""
        lines.append(f"  {name:<20} order {solver.order}; {cost}{noise}: {solver.about}")
    return "\n".join([*lines, "", "Spacings:", *(f"  {name:<20} {about}" for name, about in SPACINGS.items())])


@dataclass(frozen=True)
class Setting:
    """A model with the way it is sampled.

    Attributes:
        model: the model.
        attribute: the sensitive attribute.
        column: its position among the model's attributes.
        pair: the two values of it that are sampled, as labels.
        solver: the solver.
        scale: the scale of classifier-free guidance; 1 is none.
    """

    model: Model
    attribute: Attribute
    column: int
    pair: tuple[int, int]
    solver: Solver
    scale: float

    @property
    def denoise(self) -> Callable:
        """The model's denoiser, guided where the scale isn't 1, which takes weights as conditions."""
        if self.scale == 1:
            return self.model.denoise
        return guidance.clipped(guidance.classifier_free(self.model.denoise, self.condition(np.array([NULL]))[0], self.scale))

    def labels(self, values: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b a"]:
        """Label rows with these values of the attribute, and the null label for the model's other attributes."""
        rows = np.full((len(values), len(self.model.attributes)), NULL, np.int32)
        rows[:, self.column] = values
        return rows

    def condition(self, values: Int[np.ndarray, " b"]) -> Float[Array, "b w"]:
        """The condition for these values of the attribute."""
        return self.model.encode(jnp.asarray(self.labels(values)))

    def context(self) -> dict[str, Any]:
        """What a transition point is tied to."""
        return {
            "model": self.model.fingerprint,
            "process": self.model.process.config(),
            "solver": self.solver.config(),
            "guidance_scale": self.scale,
            "attribute": self.attribute.name,
            "pair": [self.attribute.values[value] for value in self.pair],
        }


def setting(path, attribute: str | None, values: tuple[str, ...], sampling: Sampling) -> Setting:
    """Loads the model and makes sure that the options fit it, before any compute."""
    solver = sampling.make_solver()
    model = load(path)
    solver.check(model.process)
    if not model.attributes:
        raise InputError(f"the model at {path} is unconditional; switching needs a model trained with --attributes")
    if attribute is None and len(model.attributes) > 1:
        known = ", ".join(known.name for known in model.attributes)
        raise InputError(f"the model has several attributes: choose with --attribute, one of {known}")
    column, found = model.attribute(attribute or model.attributes[0].name)
    if not values:
        if len(found.values) != 2:
            raise InputError(
                f"attribute {found.name!r} has {len(found.values)} values; "
                f"choose two with --values, of {', '.join(found.values)}"
            )
        values = found.values
    if len(values) != 2 or values[0] == values[1]:
        raise InputError(f"--values takes two different values of {found.name!r}, got {' '.join(values)}")
    pair = found.index(values[0]), found.index(values[1])
    return Setting(model, found, column, pair, solver, float(sampling.guidance_scale))


assert set(SOLVERS) == set(get_args(Sampling.__annotations__["solver"]))
