"""What searching and drawing share: the model, the solver, the values that are sampled, and the context that tau is tied to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from jaxdiff import choices, guidance, parallel
from jaxdiff._console.hosts import Hosts
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import SOLVERS, Solver


@dataclass(frozen=True, kw_only=True)
class Sampling(Hosts):
    """How a model is sampled: the options that a search and a drawing share."""

    solver: choices.SolverName = "unipc"
    """The solver; the table above says what each is for, the README what each measured."""
    steps: int = 20
    """Steps of the solver."""
    spacing: choices.Spacing | None = None
    """How its nodes lie; by default as suits the solver."""
    eta: float = 0.0
    """ddim: 0 is deterministic, 1 is ancestral sampling."""
    churn: float = 0.0
    """heun: S_churn, noise added before each step."""
    guidance_scale: float = 1.0
    """Scale of classifier-free guidance."""
    start: Literal["other", "none"] = "other"
    """What a switched image starts under: another value of the attribute, or no label, which is at parity already."""

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
    about = {"Solvers (order; evaluations of the network in S steps)": choices.SOLVERS, "Spacings": choices.SPACINGS}
    return choices.table(**about)


@dataclass(frozen=True)
class Setting:
    """A model with the way it is sampled.

    Attributes:
        model: the model.
        attribute: the sensitive attribute; of several at once their product, a value for every combination.
        columns: the positions of the attributes, of whose product it is, among the model's.
        values: those of its values that are sampled, two or more, as labels.
        solver: the solver.
        scale: the scale of classifier-free guidance; 1 is none.
        start: what a switched image starts under, `other` or `none`.
        mesh: the devices that its weights lie on, and that what is sampled is dealt over: use it as `jax.set_mesh(mesh)`.
        guard: what its denoiser is to keep away from, as `sample.safety.Guard` makes it; None for nothing.
    """

    model: Model
    attribute: Attribute
    columns: tuple[int, ...]
    values: tuple[int, ...]
    solver: Solver
    scale: float
    start: str
    mesh: Mesh
    guard: Any = None

    @property
    def denoise(self) -> Callable:
        """The model's denoiser, guided where the scale isn't 1, under the guard if any; it takes weights as conditions."""
        if self.guard is not None:
            return self.guard.around(replace(self.guard.base, guard=None).denoise, self.null)
        if self.scale == 1:
            return self.model.denoise
        return guidance.clipped(guidance.classifier_free(self.model.denoise, self.null, self.scale))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that are sampled."""
        return tuple(self.attribute.values[value] for value in self.values)

    @property
    def null(self) -> Float[Array, " w"]:
        """The condition that tells no attribute, one row."""
        return self.model.conditions.encode(jnp.full((1, len(self.model.conditions.attributes)), NULL, jnp.int32))[0]

    def labels(self, ends: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b a"]:
        """Label rows of the values at these positions in `values`, and the null label for the model's other attributes."""
        sizes = [len(self.model.conditions.attributes[column].values) for column in self.columns]
        rows = np.full((len(ends), len(self.model.conditions.attributes)), NULL, np.int32)
        rows[:, self.columns] = np.stack(np.unravel_index(np.array(self.values)[ends], sizes), axis=1)
        return rows

    def condition(self, ends: Int[np.ndarray, " b"]) -> Float[Array, "b w"]:
        """The condition for the values at these positions in `values`."""
        return self.model.conditions.encode(jnp.asarray(self.labels(ends)))

    def conditions(self) -> Float[Array, "k w"]:
        """The condition of each value that is sampled."""
        return self.condition(np.arange(len(self.values)))

    def context(self) -> dict[str, Any]:
        """What a transition point is tied to."""
        return {
            "model": self.model.fingerprint,
            "process": self.model.process.config(),
            "solver": self.solver.config(),
            "guidance_scale": self.scale,
            "start": self.start,
            "attribute": self.attribute.name,
            "values": list(self.names),
            **({} if self.guard is None else {"guard": self.guard.settings}),
        }


def setting(path, attribute: str | None, values: tuple[str, ...], sampling: Sampling, *, abstract: bool = False) -> Setting:
    """Joins the other processes, loads the model and makes sure that the options fit it, before any compute.

    With `abstract` the weights are shapes alone, which can be compiled for and not run.
    """
    solver = sampling.make_solver()
    mesh = sampling.join()
    model = load(path)
    solver.check(model.process)
    if not model.conditions.attributes:
        raise InputError(f"the model at {path} is unconditional; switching needs a model trained with --attributes")
    if attribute is None and len(model.conditions.attributes) > 1:
        known = ", ".join(known.name for known in model.conditions.attributes)
        raise InputError(f"the model has several attributes: choose with --attribute, one of {known} or more joined by +")
    name = attribute or model.conditions.attributes[0].name
    whole = any(known.name == name for known in model.conditions.attributes)
    columns, parts = zip(*(model.conditions.attribute(part) for part in ([name] if whole else name.split("+"))), strict=True)
    if len(set(columns)) < len(columns):
        raise InputError(f"--attribute joins different attributes by +, got {name}")
    found = product_of(parts)
    values = values or found.values
    if len(values) < 2 or len(set(values)) < len(values):
        raise InputError(f"--values takes two or more different values of {found.name!r}, got {' '.join(values)}")
    labels = tuple(map(found.index, values))
    if abstract:
        network = parallel.abstract_parameters(mesh, model.network)
    else:
        network = parallel.place(model.network, parallel.parameter_shardings(mesh, model.network))
    model = replace(model, network=network)
    return Setting(model, found, columns, labels, solver, float(sampling.guidance_scale), sampling.start, mesh)


def product_of(attributes: Sequence[Attribute]) -> Attribute:
    """The attribute whose values are the combinations of these attributes' values, joined by +, the last fastest."""
    names = ("+".join(parts) for parts in product(*(attribute.values for attribute in attributes)))
    return Attribute("+".join(attribute.name for attribute in attributes), tuple(names))
