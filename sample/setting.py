"""What searching and drawing share: a model, how it is sampled and with which values, and the context that tau is tied to."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from jaxdiff import parallel
from jaxdiff.conditions import Labels
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.guidance import ClippingPolicy
from jaxdiff.model import Model, load
from jaxdiff.models.labels import NULL
from jaxdiff.solvers import SOLVERS, Solver

from .nest import Nest
from .options import Sampling
from .registry import Entry, Method


@dataclass(frozen=True)
class Setting:
    """A model with the way it is sampled.

    Attributes:
        model: the model.
        attribute: the sensitive attribute; of several at once their product, a value for every combination; None of an
            unconditional model.
        columns: the positions of the attributes, of whose product it is, among the model's.
        values: those of its values that are sampled, two or more, as labels; none of an unconditional model.
        solver: the solver.
        scale: the scale of classifier-free guidance; 1 is none.
        start: what a switched image starts under, `other` or `none`.
        mesh: the devices that weights lie on, and that what is sampled is sharded over: use it as `jax.set_mesh(mesh)`.
        abstract: whether weights are shapes alone, which can be compiled for and not run.
        policy: what keeps posterior means in the range of the data.
        nest: the model's denoiser, with the modifiers.
    """

    model: Model
    attribute: Attribute | None
    columns: tuple[int, ...]
    values: tuple[int, ...]
    solver: Solver
    scale: float
    start: str
    mesh: Mesh
    abstract: bool
    policy: ClippingPolicy
    nest: Nest

    @property
    def denoise(self) -> Callable:
        """The model's denoiser with the modifiers; it takes what `conditions` holds, or a mixture of it."""
        return self.nest.outside(self.nest.inside(), self.conditions())

    @property
    def name(self) -> str:
        """The name of the attribute; empty for an unconditional model."""
        return self.attribute.name if self.attribute else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values that are sampled."""
        return tuple(self.attribute.values[value] for value in self.values) if self.attribute else ()

    @cached_property
    def null(self) -> Any:
        """The condition that says nothing, one row. Raises `InputError` where the model has no null label."""
        return self.model.conditions.null

    def labels(self, ends: Int[np.ndarray, " b"]) -> Int[np.ndarray, "b a"]:
        """Label rows of the values at these positions in `values`, and the null label for the model's other attributes."""
        attributes = self.model.conditions.attributes
        rows = np.full((len(ends), len(attributes)), NULL, np.int32)
        if self.columns:
            sizes = [len(attributes[column].values) for column in self.columns]
            rows[:, self.columns] = np.stack(np.unravel_index(np.array(self.values)[ends], sizes), axis=1)
        return rows

    def condition(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The condition for the values at these positions in `values`."""
        return self.model.conditions.encode(self.labels(ends))

    def conditions(self) -> Any:
        """The condition of each value that is sampled."""
        return self.condition(np.arange(len(self.values)))

    def placed(self, model: Model) -> Model:
        """A model with its weights on the devices, as the mesh shards parameters."""
        if self.abstract:
            network = parallel.abstract_parameters(self.mesh, model.network)
        else:
            network = parallel.place(model.network, parallel.parameter_shardings(self.mesh, model.network))
        return replace(model, network=network)

    def searched(self, *, guarded: bool = True) -> "Setting":
        """The setting in which tau is searched: under those modifiers alone that a search knows.

        Arguments:
            guarded: whether that search knows guards.
        """
        return replace(self, nest=self.nest.only(lambda each: each.searched and (guarded or each.slot != "guard")))

    def context(self) -> dict[str, Any]:
        """What a transition point is tied to."""
        guard = self.nest.of("guard")
        settings = self.nest.settings()
        return {
            "model": self.model.fingerprint,
            "process": self.model.process.config(),
            "solver": self.solver.config(),
            "guidance_scale": self.scale,
            "start": self.start,
            "attribute": self.name or None,
            "values": list(self.names),
            **({} if guard is None else {"guard": dict(guard.settings)}),
            **({"modifiers": settings} if settings else {}),
        }

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell the modifiers apart; empty where there is none that changes tau's file."""
        guard, others = self.nest.of("guard"), self.nest.settings()
        if guard is None and not others:
            return ""
        told = dict(guard.settings) if guard and not others else {"guard": guard and dict(guard.settings), **others}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def make_solver(sampling: Sampling) -> Solver:
    """The solver of the options. Raises `InputError` for options out of range."""
    given: dict[str, Any] = {"spacing": sampling.spacing} if sampling.spacing else {}
    for option, taker in (("eta", "ddim"), ("churn", "heun")):
        given |= {option: getattr(sampling, option)} if sampling.solver == taker else {}
    return SOLVERS[sampling.solver](sampling.steps, **given)


def setting(
    path: Any,
    attribute: str | None,
    values: tuple[str, ...],
    sampling: Sampling,
    *,
    method: Method | None = None,
    start: str = "other",
    abstract: bool = False,
) -> Setting:
    """Joins the other processes, loads the model and what the modifiers need, and makes sure that the options fit it.

    Arguments:
        path, attribute, values, sampling: as of the commands.
        method: the method that draws; None for a search, which switches labels.
        start: what a switched image starts under.
        abstract: whether weights are to be shapes alone, which can be compiled for and not run.

    Raises:
        InputError: before any compute, where something does not go with the model.
    """
    solver = make_solver(sampling)
    mesh = sampling.make_mesh()
    model = load(path)
    solver.check(model.process)
    if not model.conditions.attributes:
        _check_unconditional(path, attribute, values, method)
    _check_null(path, model, [*([method] if method else []), *sampling.modifiers], start)
    found, columns, labels = _chosen_values(path, model, attribute, values) if model.conditions.attributes else (None, (), ())
    clipping = sampling.modifier("clipping")
    policy = clipping.policy(model) if clipping else model.space.policy
    chosen = Setting(
        model, found, columns, labels, solver, sampling.scale, start, mesh, abstract, policy, Nest(model, policy, ())
    )  # fmt: skip
    chosen = replace(chosen, model=chosen.placed(model))
    ready = tuple(modifier.ready(chosen) for modifier in sampling.modifiers)
    return replace(chosen, nest=Nest(chosen.model, policy, ready))


def _check_null(path: Any, model: Model, entries: Sequence[Entry], start: str) -> None:
    """Raises `InputError` where something takes a null label, and the model has none."""
    labelled = isinstance(model.conditions, Labels)
    if labelled and model.conditions.has_null:
        return
    needing = [entry.name for entry in entries if entry.needs_null] + ["--start none"] * (start == "none")
    if needing and not labelled:
        raise InputError(f"{needing[0]} takes a model that labels condition, and the one at {path} is unconditional: drop it")
    if needing:
        raise InputError(
            f"{needing[0]} takes a model with a null label, and the one at {path} has none: it was trained with every label "
            "given. Train with --label-dropout above 0, or import with --null-label where there is one"
        )


def _check_unconditional(path: Any, attribute: str | None, values: tuple[str, ...], method: Method | None) -> None:
    what = "a search" if method is None else f"--method {method.name}"
    if method is None or method.needs_labels:
        raise InputError(
            f"the model at {path} is unconditional, and {what} takes one that labels condition: train with --attributes, or "
            "draw by --method vanilla"
        )
    if attribute or values:
        raise InputError(f"the model at {path} is unconditional: it takes no --attribute and no --values, got them")


def _chosen_values(
    path: Any, model: Model, attribute: str | None, values: tuple[str, ...]
) -> tuple[Attribute, tuple[int, ...], tuple[int, ...]]:
    """The attribute that is sampled, its columns among the model's, and the labels of its values."""
    conditions = model.conditions
    known = [each.name for each in conditions.attributes]
    if attribute is None and len(known) > 1:
        listed = ", ".join(known)
        raise InputError(f"the model has several attributes: choose with --attribute, one of {listed} or more joined by +")
    name = attribute or known[0]
    columns, parts = zip(*map(conditions.attribute, [name] if name in known else name.split("+")), strict=True)
    if len(set(columns)) < len(columns):
        raise InputError(f"--attribute joins different attributes by +, got {name}")
    if not conditions.has_null and len(columns) < len(known):
        raise InputError(
            f"the model at {path} has no null label, so every attribute must be given: take --attribute {'+'.join(known)}"
        )
    found = product_of(parts)
    values = values or found.values
    if len(values) < 2 or len(set(values)) < len(values):
        raise InputError(f"--values takes two or more different values of {found.name!r}, got {' '.join(values)}")
    return found, columns, tuple(map(found.index, values))


def product_of(attributes: Sequence[Attribute]) -> Attribute:
    """The attribute whose values are the combinations of these attributes' values, joined by +, the last fastest."""
    names = ("+".join(parts) for parts in product(*(attribute.values for attribute in attributes)))
    return Attribute("+".join(attribute.name for attribute in attributes), tuple(names))
